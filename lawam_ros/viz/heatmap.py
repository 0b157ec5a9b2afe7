"""The subgoal similarity heatmap of the official implementation: where the predicted scene resembles one anchor patch."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class HeatmapStyle:
    """Official defaults: cosine range drawn, opacity, and the anchor patch (row, column) in the first query of an episode."""

    low: float = 0.4
    high: float = 1.0
    alpha: float = 0.5
    anchor_patch: tuple[int, int] = (3, 7)


def anchor_feature(current: Features, grid_hw: tuple[int, int], patch: tuple[int, int]) -> Features:
    """Unit feature (F,) of one patch of the current features (tokens, F), row-major over the grid."""
    row, column = patch
    if not (0 <= row < grid_hw[0] and 0 <= column < grid_hw[1]):
        raise ValueError(f"expected an anchor patch inside the {grid_hw[0]}x{grid_hw[1]} grid, got {patch}")
    return _unit(current[row * grid_hw[1] + column])


def similarity_map(predicted: Features, anchor: Features, grid_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Cosine of every predicted patch with the anchor, (rows, columns) in [-1, 1]."""
    return (_unit(predicted) @ anchor).reshape(grid_hw).astype(np.float32)


def overlay(frame: Rgb, cosine: NDArray[np.float32], style: HeatmapStyle) -> Rgb:
    """Heatmap drawn over the frame: bilinear (corners not aligned), jet colours."""
    height, width = frame.shape[:2]
    resized = cv2.resize(cosine, (width, height), interpolation=cv2.INTER_LINEAR)
    level = np.clip((resized - style.low) / (style.high - style.low), 0.0, 1.0)
    colour = jet(level)
    mixed = (1.0 - style.alpha) * frame.astype(np.float32) + style.alpha * colour
    return np.clip(mixed, 0, 255).astype(np.uint8)


def jet(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """Matplotlib's ``jet`` at 0..1, as whole numbers 0..255 (..., 3)."""
    index = np.clip((level * 256).astype(int), 0, 255)
    return _jet_table()[index]


@cache
def _jet_table() -> NDArray[np.float32]:
    import matplotlib

    return np.round(255.0 * matplotlib.colormaps["jet"](np.arange(256))[:, :3]).astype(np.float32)


def _unit(features: Features) -> Features:
    norm = np.linalg.norm(features, axis=-1, keepdims=True)
    return (features / np.maximum(norm, 1e-12)).astype(np.float32)
