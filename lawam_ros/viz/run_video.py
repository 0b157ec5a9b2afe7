"""One frame of the demo video: camera image, subgoal heatmap and reference path side by side."""

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]

_BACKGROUND = (250, 250, 247)
_GRID = (222, 222, 216)
_INK = (60, 60, 60)
_PATH = (40, 90, 200)
_PLAN = (230, 120, 20)


def strip(frame: Rgb, heatmap: Rgb | None, path: Rgb, caption: str) -> Rgb:
    """Horizontal strip of three equal panels under a caption line; a missing heatmap is a grey panel that says so."""
    height, width = frame.shape[:2]
    if heatmap is None:
        heatmap = np.full_like(frame, 128)
        _text(heatmap, "no subgoal yet", (10, height // 2), (255, 255, 255))
    panels = np.concatenate([frame, heatmap, path], axis=1)
    bar = np.full((24, panels.shape[1], 3), _BACKGROUND, np.uint8)
    for i, title in enumerate(("camera", "latent subgoal", "reference path")):
        _text(bar, title, (i * width + 6, 17), _INK)
    foot = np.full((24, panels.shape[1], 3), _BACKGROUND, np.uint8)
    _text(foot, caption, (6, 17), _INK)
    return np.concatenate([bar, panels, foot], axis=0)


def path_panel(
    path_m: NDArray[np.float64],
    plan_m: NDArray[np.float64] | None,
    lower_m: NDArray[np.float64],
    upper_m: NDArray[np.float64],
    size_hw: tuple[int, int],
) -> Rgb:
    """Commanded TCP path (N, 3) so far and the newest chunk (M, 3), seen from above (upper half) and from the side (lower half).

    Bounds are the workspace in the arm's base frame; forward (x) points right, y points up in the upper half, z up in the lower one.
    """
    height, width = size_hw
    panel = np.full((height, width, 3), _BACKGROUND, np.uint8)
    half = height // 2
    for top, vertical, label in ((0, 1, "top: x, y"), (half, 2, "side: x, z")):
        box = (8, top + 8, width - 8, top + half - 8)
        cv2.rectangle(panel, box[:2], box[2:], _GRID, 1)
        _text(panel, label, (12, top + 20), _INK)
        axes = (0, vertical)
        _polyline(panel, path_m, axes, lower_m, upper_m, box, _PATH, 1)
        if plan_m is not None:
            _polyline(panel, plan_m, axes, lower_m, upper_m, box, _PLAN, 2)
        if len(path_m):
            point = _pixels(path_m[-1:], axes, lower_m, upper_m, box)[0]
            cv2.circle(panel, (int(point[0]), int(point[1])), 4, _PATH, -1, cv2.LINE_AA)
    return panel


def _pixels(
    points_m: NDArray[np.float64],
    axes: tuple[int, int],
    lower_m: NDArray[np.float64],
    upper_m: NDArray[np.float64],
    box: tuple[int, int, int, int],
) -> NDArray[np.int32]:
    """Pixel coordinates of points, equal scale on both axes, centred in the box."""
    columns = list(axes)
    span = upper_m[columns] - lower_m[columns]
    scale = min((box[2] - box[0]) / span[0], (box[3] - box[1]) / span[1])
    centred = (points_m[:, columns] - 0.5 * (lower_m + upper_m)[columns]) * scale
    x = 0.5 * (box[0] + box[2]) + centred[:, 0]
    y = 0.5 * (box[1] + box[3]) - centred[:, 1]
    return np.round(np.stack([x, y], axis=1)).astype(np.int32)


def _polyline(
    panel: Rgb,
    points_m: NDArray[np.float64],
    axes: tuple[int, int],
    lower_m: NDArray[np.float64],
    upper_m: NDArray[np.float64],
    box: tuple[int, int, int, int],
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    if len(points_m) > 1:
        cv2.polylines(panel, [_pixels(points_m, axes, lower_m, upper_m, box)], False, colour, thickness, cv2.LINE_AA)


def _text(image: Rgb, text: str, position: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, position, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
