"""The heatmap against the official implementation's numbers."""

import numpy as np
import pytest
from golden import golden_folders

from lawam_ros.cli.parity_heatmap import compare_heatmap
from lawam_ros.model.parity import read_case
from lawam_ros.viz.heatmap import anchor_feature


@pytest.mark.parametrize("folder", golden_folders("cases/heatmap.json"), ids=lambda path: path.name)
def test_heatmap_equals_the_golden_one(folder):
    case = read_case(folder, "heatmap")
    rows = compare_heatmap(case)
    assert [row for row in rows if not row.ok] == []
    # Per anchor: its feature, and cosine, overlay and share of differing values for the features now and predicted. Then the principal
    # components: mean, directions, scale, and two pictures with their shares.
    assert len(rows) == len(case.settings["anchors_row_col"]) * (1 + 2 * 3) + 3 + 2 * 2


def test_anchor_outside_the_grid_is_refused():
    with pytest.raises(ValueError, match="16x16 grid"):
        anchor_feature(np.ones((256, 3), np.float32), (16, 16), (16, 0))
