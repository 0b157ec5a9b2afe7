"""Statistics of columns and pictures in the form LeRobot stores them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PICTURE_STRIDE = 5
"""Every how many frames a picture enters the statistics: neighbours hardly differ."""


def column_statistics(values: NDArray[Any]) -> dict[str, list[float]]:
    """min, max, mean, std, q01, q99 and count per column of (F, D) or (F,)."""
    flat = np.asarray(values, dtype=float).reshape(len(values), -1)
    q01, q99 = np.quantile(flat, [0.01, 0.99], axis=0)
    named = {"min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0), "std": flat.std(0), "q01": q01, "q99": q99}
    return {**{name: vector.tolist() for name, vector in named.items()}, "count": [len(flat)]}


class PictureSums:
    """Running sums over pixels of one camera, channels in RGB order, values in 0..1."""

    def __init__(self) -> None:
        self._pictures = 0
        self._pixels = 0
        self._total, self._squares = np.zeros(3), np.zeros(3)
        self._lowest, self._highest = np.full(3, np.inf), np.full(3, -np.inf)

    def add(self, picture: NDArray[np.uint8]) -> None:
        """One RGB picture (H, W, 3)."""
        flat = picture.reshape(-1, 3).astype(np.float32) / 255.0
        self._pictures += 1
        self._pixels += len(flat)
        self._total += flat.sum(0, dtype=float)
        self._squares += (flat * flat).sum(0, dtype=float)
        self._lowest, self._highest = np.minimum(self._lowest, flat.min(0)), np.maximum(self._highest, flat.max(0))

    def as_mapping(self) -> dict[str, list[float]]:
        """Plain numbers, to store beside an episode."""
        if not self._pictures:
            raise ValueError("expected at least one picture")
        mean = self._total / self._pixels
        deviation = np.sqrt(np.maximum(self._squares / self._pixels - mean * mean, 0.0))
        named = {"min": self._lowest, "max": self._highest, "mean": mean, "std": deviation}
        return {**{name: [float(x) for x in vector] for name, vector in named.items()}, "count": [self._pictures]}


def combine_picture_statistics(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Statistics over all parts, weighted by their counts, in LeRobot's shape (3, 1, 1)."""
    parts = list(parts)
    counts = np.array([float(part["count"][0]) for part in parts])
    weights = counts / counts.sum()
    means, deviations = np.array([part["mean"] for part in parts]), np.array([part["std"] for part in parts])
    mean = weights @ means
    spread = np.sqrt(np.maximum(weights @ (deviations**2 + means**2) - mean**2, 0.0))
    named = {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": spread,
    }
    return {**{name: vector.reshape(3, 1, 1).tolist() for name, vector in named.items()}, "count": [int(counts.sum())]}
