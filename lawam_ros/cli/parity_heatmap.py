"""Golden cases of the subgoal views: heatmap and principal components."""

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.checkpoint import read_config
from lawam_ros.model.image_preparation import prepare_image
from lawam_ros.model.parity import ARITHMETIC, GoldenCase, ParityRow, compare, read_case
from lawam_ros.viz.heatmap import HeatmapStyle, anchor_feature, overlay, similarity_map
from lawam_ros.viz.pca import colours, fit_basis

COSINE = 1e-5
DIRECTIONS = 1e-4
LEVELS, SHARE = 2.0, 0.01
"""Interpolation rounds differently in the last bit; a pixel on the border of two of jet's 256 colours may then take the neighbour: at most
LEVELS grey levels, in at most SHARE of all values."""


def compare_heatmap(case: GoldenCase) -> list[ParityRow]:
    """Anchor features, cosines, overlays and principal components of the recorded features the heatmap was made from."""
    inference = read_case(case.folder, str(case.setting("case")))
    if case.settings.get("cmap", "jet") != "jet":
        raise UserMistake(f"golden case '{case.name}': expected the colours jet, got {case.settings['cmap']!r}")
    example = int(_image_name(case).split("/")[-2])
    grid = (int(case.setting("vision_tokens_hw")[0]), int(case.setting("vision_tokens_hw")[1]))
    frame = _frame(case, inference)
    rows = []
    for index, (row, column) in enumerate(case.setting("anchors_row_col")):
        feature = anchor_feature(inference.tensor("lam/h_t")[example].numpy(), grid, (row, column))
        rows.append(compare(f"anchor_{index}/feature", case.tensor(f"anchor_{index}/feature"), feature, ARITHMETIC))
        low = case.settings["vmin_per_anchor"][index] if case.settings.get("vmin_per_anchor") else case.setting("vmin")
        style = HeatmapStyle(low=low, high=case.setting("vmax"), alpha=case.setting("alpha"))
        for which in ("h_t", "h_t1_pred"):
            cosine = similarity_map(inference.tensor(f"lam/{which}")[example].numpy(), feature, grid)
            name = f"anchor_{index}/{which}/cosine_{grid[0]}x{grid[1]}"
            rows.append(compare(name, case.tensor(name), cosine, COSINE))
            rows += _overlay_rows(case, f"anchor_{index}/{which}/overlay_rows", overlay(frame, cosine, style))
    features = {which: inference.tensor(f"lam/{which}")[example].numpy() for which in ("h_t", "h_t1_pred")}
    return rows + _pca_rows(case, features, grid)


def _pca_rows(case: GoldenCase, features: dict[str, NDArray[np.float32]], grid: tuple[int, int]) -> list[ParityRow]:
    if "pca/components" not in case.tensors:
        return []
    basis, recorded = fit_basis(features["h_t"]), case.tensor("pca/components").numpy()
    # A singular vector may point either way; the recorded picture knows which.
    basis = replace(basis, components=basis.components * np.sign((basis.components * recorded).sum(axis=0)))
    rows = [
        compare("pca/mean", case.tensor("pca/mean"), basis.mean[None], ARITHMETIC),
        compare("pca/components", recorded, basis.components, DIRECTIONS),
        compare("pca/scale", case.tensor("pca/scale"), basis.scale[None], DIRECTIONS),
    ]
    for which, tokens in features.items():
        key = f"pca/{which}_{grid[0]}x{grid[1]}"
        if key in case.tensors:
            expected, got = case.tensors[key].numpy(), colours(tokens, basis, grid)
            rows.append(compare(key, expected, got, 1.0))
            rows.append(ParityRow(f"{key} (share of values that differ)", float((expected != got).mean()), SHARE))
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
    config, _ = read_config(case.folder / inference.setting("run"))
    image = inference.tensor(_image_name(case).replace("proc/resized_", "inputs/")).numpy()
    return prepare_image(image, config.image_size, config.centre_crop_90).permute(1, 2, 0).numpy()


def _image_name(case: GoldenCase) -> str:
    """Of the recorded image under the heatmap: "CASE: proc/resized_primary/EXAMPLE/VIEW"."""
    name = str(case.setting("target_image")).rpartition(": ")[2]
    if not re.fullmatch(r"proc/resized_(primary|wrist)/\d+/\d+", name):
        raise UserMistake(f"golden case '{case.name}': expected target_image like 'A: proc/resized_primary/0/0', got {name!r}")
    return name
