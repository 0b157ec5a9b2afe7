"""The heatmap against the official implementation's numbers."""

import json

import numpy as np
import pytest
from golden import golden_folders, load_tensors

from lawam_ros.viz.heatmap import HeatmapStyle, anchor_feature, overlay, similarity_map


@pytest.mark.parametrize("folder", golden_folders("cases/heatmap.json"), ids=lambda path: path.name)
@pytest.mark.parametrize("anchor", [0, 1])
@pytest.mark.parametrize("which", ["h_t", "h_t1_pred"])
def test_heatmap_equals_the_golden_one(folder, anchor, which):
    meta = json.loads((folder / "cases/heatmap.json").read_text())
    expected = load_tensors(folder / "cases/heatmap.safetensors")
    inference = load_tensors(folder / f"cases/{meta['case']}.safetensors")
    grid = tuple(meta["vision_tokens_hw"])
    feature = anchor_feature(inference["lam/h_t"][0], grid, tuple(meta["anchors_row_col"][anchor]))
    np.testing.assert_allclose(feature, expected[f"anchor_{anchor}/feature"], atol=1e-6)
    cosine = similarity_map(inference[f"lam/{which}"][0], feature, grid)
    np.testing.assert_allclose(cosine, expected[f"anchor_{anchor}/{which}/cosine_16x16"], atol=1e-5)
    style = HeatmapStyle(low=meta["vmin_per_anchor"][anchor], high=meta["vmax"], alpha=meta["alpha"])
    drawn = overlay(inference["proc/resized_primary/0/0"], cosine, style)[::4].astype(int)
    difference = np.abs(drawn - expected[f"anchor_{anchor}/{which}/overlay_rows4"].astype(int))
    # Interpolation rounds differently in the last bit; a pixel on the border of two of jet's 256 colours may then take the neighbour.
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.01


def test_anchor_outside_the_grid_is_refused():
    with pytest.raises(ValueError, match="16x16 grid"):
        anchor_feature(np.ones((256, 3), np.float32), (16, 16), (16, 0))
