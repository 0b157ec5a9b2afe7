"""One frame of the demo video: camera image, subgoal heatmap and reference path side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lawam_ros.viz.text import INK, WHITE, put_text

Rgb = NDArray[np.uint8]
Points = NDArray[np.float64]

_BACKGROUND = (250, 250, 247)
_GRID = (222, 222, 216)
_PATH = (40, 90, 200)
_PLAN = (230, 120, 20)


def strip(frame: Rgb, heatmap: Rgb | None, path: Rgb, caption: str) -> Rgb:
    """Horizontal strip of three equal panels under a caption line; a missing heatmap is a grey panel that says so."""
    height, width = frame.shape[:2]
    if heatmap is None:
        heatmap = np.full_like(frame, 128)
        put_text(heatmap, "no subgoal yet", (10, height // 2), WHITE)
    panels = np.concatenate([frame, heatmap, path], axis=1)
    bar = np.full((24, panels.shape[1], 3), _BACKGROUND, np.uint8)
    for i, title in enumerate(("camera", "latent subgoal", "reference path")):
        put_text(bar, title, (i * width + 6, 17), INK)
    foot = np.full((24, panels.shape[1], 3), _BACKGROUND, np.uint8)
    put_text(foot, caption, (6, 17), INK)
    return np.concatenate([bar, panels, foot], axis=0)


def path_panel(
    paths_m: Sequence[Points],
    plans_m: Sequence[Points],
    lower_m: NDArray[np.float64],
    upper_m: NDArray[np.float64],
    size_hw: tuple[int, int],
) -> Rgb:
    """Per arm the commanded TCP path (N, 3) so far and the newest chunk (M, 3), as somebody facing the robot sees them: from above and from
    the front.

    Bounds are the workspace, all in one frame. y points right in both halves; x points down in the upper half, z up in the lower one.
    """
    height, width = size_hw
    panel = np.full((height, width, 3), _BACKGROUND, np.uint8)
    half = height // 2
    for top, vertical, sign, label in ((0, 0, 1.0, "from above"), (half, 2, -1.0, "from the front")):
        box = (6, top + 4, width - 6, top + half - 4)
        view = _View(vertical, sign, lower_m, upper_m, box)
        cv2.rectangle(panel, box[:2], box[2:], _GRID, 1)
        put_text(panel, label, (box[0] + 4, top + 17), INK)
        for path_m in paths_m:
            _polyline(panel, view.pixels(path_m), _PATH)
        for plan_m in plans_m:
            _polyline(panel, view.pixels(plan_m), _PLAN)
        for path_m in paths_m:
            for x, y in view.pixels(path_m[-1:]):
                cv2.circle(panel, (int(x), int(y)), 5, _PATH, -1, cv2.LINE_AA)
    return panel


@dataclass(frozen=True)
class _View:
    """Orthographic view: y to the right, one other axis up (sign -1) or down (sign 1), the same scale on both, centred in a pixel box."""

    vertical: int
    sign: float
    lower_m: NDArray[np.float64]
    upper_m: NDArray[np.float64]
    box: tuple[int, int, int, int]

    def pixels(self, points_m: Points) -> NDArray[np.int32]:
        axes = [1, self.vertical]
        left, top, right, bottom = self.box
        span = (self.upper_m - self.lower_m)[axes]
        scale = min((right - left) / span[0], (bottom - top) / span[1])
        offset = (points_m[:, axes] - 0.5 * (self.lower_m + self.upper_m)[axes]) * scale
        x = 0.5 * (left + right) + offset[:, 0]
        y = 0.5 * (top + bottom) + self.sign * offset[:, 1]
        return np.round(np.stack([x, y], axis=1)).astype(np.int32)


def _polyline(panel: Rgb, pixels: NDArray[np.int32], colour: tuple[int, int, int]) -> None:
    if len(pixels) > 1:
        cv2.polylines(panel, [pixels], False, colour, 2, cv2.LINE_AA)
