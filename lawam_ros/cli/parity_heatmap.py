"""Golden cases of the subgoal heatmap."""

import re

import numpy as np
from numpy.typing import NDArray

from lawam_ros.model.checkpoint import read_config
from lawam_ros.model.image_preparation import prepare_image
from lawam_ros.model.parity import ARITHMETIC, GoldenCase, ParityRow, compare, read_case
from lawam_ros.viz.heatmap import HeatmapStyle, anchor_feature, overlay, similarity_map

COSINE = 1e-5
LEVELS, SHARE = 2.0, 0.01
"""Interpolation rounds differently in the last bit; a pixel on the border of two of jet's 256 colours may then take the neighbour: at most
LEVELS grey levels, in at most SHARE of all values."""


def compare_heatmap(case: GoldenCase) -> list[ParityRow]:
    """Anchor features, cosines and overlays on the recorded features of the inference case that the heatmap was made from."""
    inference = read_case(case.folder, str(case.setting("case")))
    grid = (int(case.setting("vision_tokens_hw")[0]), int(case.setting("vision_tokens_hw")[1]))
    frame = _frame(case, inference)
    rows = []
    for index, (row, column) in enumerate(case.setting("anchors_row_col")):
        feature = anchor_feature(inference.tensor("lam/h_t")[0].numpy(), grid, (row, column))
        rows.append(compare(f"anchor_{index}/feature", case.tensor(f"anchor_{index}/feature"), feature, ARITHMETIC))
        style = HeatmapStyle(low=case.setting("vmin_per_anchor")[index], high=case.setting("vmax"), alpha=case.setting("alpha"))
        for which in ("h_t", "h_t1_pred"):
            cosine = similarity_map(inference.tensor(f"lam/{which}")[0].numpy(), feature, grid)
            name = f"anchor_{index}/{which}/cosine_{grid[0]}x{grid[1]}"
            rows.append(compare(name, case.tensor(name), cosine, COSINE))
            rows += _overlay_rows(case, f"anchor_{index}/{which}/overlay_rows", overlay(frame, cosine, style))
    return rows


def _overlay_rows(case: GoldenCase, prefix: str, drawn: NDArray[np.uint8]) -> list[ParityRow]:
    rows = []
    for key in case.tensors:
        if match := re.fullmatch(re.escape(prefix) + r"(\d+)", key):
            expected, got = case.tensors[key].numpy(), drawn[:: int(match[1])]
            rows.append(compare(key, expected, got, LEVELS))
            if expected.shape == got.shape:
                rows.append(ParityRow(f"{key} (share of values that differ)", float((expected != got).mean()), SHARE))
    return rows


def _frame(case: GoldenCase, inference: GoldenCase) -> NDArray[np.uint8]:
    """The image under the heatmap, prepared from the camera image: the recorded one may hold only some of its rows."""
    _, _, name = str(case.setting("target_image")).partition(": ")
    config, _ = read_config(case.folder / inference.setting("run"))
    image = inference.tensor(name.replace("proc/resized_", "inputs/")).numpy()
    return prepare_image(image, config.image_size, config.centre_crop_90).permute(1, 2, 0).numpy()
