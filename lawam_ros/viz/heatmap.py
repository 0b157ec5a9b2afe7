"""The subgoal similarity heatmap of the official implementation: where the predicted scene resembles one anchor patch."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
Rgb = NDArray[np.uint8]

_ROUND_DOWN = -0.5 + 1e-4
"""Added before OpenCV rounds, so that it cuts off as the official implementation does."""


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


def overlay(frame: Rgb, values: NDArray[np.float32], style: HeatmapStyle) -> Rgb:
    """Map (rows, columns) drawn over the frame (H, W, 3): bilinear (corners not aligned), jet colours from ``low`` to ``high``."""
    resized = np.asarray(cv2.resize(values, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    mixed = cv2.addWeighted(frame, 1.0 - style.alpha, jet(resized, style.low, style.high), style.alpha, _ROUND_DOWN)
    return np.asarray(mixed, dtype=np.uint8)


def jet(values: NDArray[np.float32], low: float, high: float) -> Rgb:
    """Matplotlib's ``jet`` of values (H, W) between low and high, (H, W, 3)."""
    per_level = 256.0 / (high - low)
    level = cv2.convertScaleAbs(np.maximum(values, np.float32(low)), alpha=per_level, beta=_ROUND_DOWN - per_level * low)
    return np.asarray(cv2.applyColorMap(level, _jet_table()), dtype=np.uint8)


@cache
def _jet_table() -> Rgb:
    import matplotlib

    return np.round(255.0 * matplotlib.colormaps["jet"](np.arange(256))[:, None, :3]).astype(np.uint8)


def _unit(features: Features) -> Features:
    norm = np.linalg.norm(features, axis=-1, keepdims=True)
    return (features / np.maximum(norm, 1e-12)).astype(np.float32)
