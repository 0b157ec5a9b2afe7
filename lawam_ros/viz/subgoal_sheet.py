"""A sheet of predicted against true subgoals: what the scene is, what it becomes, and what the world model says it becomes."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lawam_ros.viz.heatmap import Features, HeatmapStyle, Rgb, anchor_feature, jet, overlay, similarity_map

_TITLE_PX = 24
_TITLES = ("frame", "true subgoal", "predicted subgoal", "error")


def subgoal_row(frame: Rgb, now: Features, true: Features, predicted: Features, grid_hw: tuple[int, int]) -> Rgb:
    """(S, 4 S, 3): the frame; the similarity of the true and of the predicted future to the patch of the present that changes most; the
    error of the prediction per patch (0 to 1 of twice the mean change, jet). Features (tokens, F), row-major over the grid."""
    change = np.linalg.norm(true - now, axis=-1)
    patch = divmod(int(change.argmax()), grid_hw[1])
    anchor = anchor_feature(now, grid_hw, (patch[0], patch[1]))
    style = HeatmapStyle(low=0.0)
    maps = [overlay(frame, similarity_map(features, anchor, grid_hw), style) for features in (true, predicted)]
    error = np.linalg.norm(predicted - true, axis=-1) / max(2.0 * float(change.mean()), 1e-9)
    level = cv2.resize(error.reshape(grid_hw).astype(np.float32), frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.concatenate([frame, *maps, jet(level, 0.0, 1.0)], axis=1)


def subgoal_sheet(rows: Sequence[Rgb]) -> Rgb:
    """Rows of :func:`subgoal_row` under each other with a line of titles on top."""
    body = np.concatenate(list(rows), axis=0)
    width = body.shape[1] // len(_TITLES)
    head = np.full((_TITLE_PX, body.shape[1], 3), 255, np.uint8)
    for index, title in enumerate(_TITLES):
        cv2.putText(head, title, (index * width + 4, _TITLE_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([head, body], axis=0)


def write_png(path: Path, picture: Rgb) -> None:
    """Write an RGB picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert encoded
    path.write_bytes(data.tobytes())
