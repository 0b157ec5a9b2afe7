"""Statistics of columns and pictures in the form LeRobot stores them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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


@dataclass
class PictureSums:
    """Running sums over pixels of one camera, channels in RGB order, values in 0..1."""

    pixels: int = 0
    pictures: int = 0
    total: Array | None = None
    squares: Array | None = None
    lowest: Array | None = None
    highest: Array | None = None

    def add(self, picture: NDArray[np.uint8]) -> None:
        flat = picture.reshape(-1, 3).astype(np.float32) / 255.0
        self._merge(len(flat), 1, flat.sum(0, dtype=float), (flat * flat).sum(0, dtype=float), flat.min(0), flat.max(0))

    def _merge(self, pixels: int, pictures: int, total: Array, squares: Array, lowest: Array, highest: Array) -> None:
        first = self.total is None
        self.pixels += pixels
        self.pictures += pictures
        self.total = total if first else self.total + total
        self.squares = squares if first else self.squares + squares
        self.lowest = lowest if first else np.minimum(self.lowest, lowest)
        self.highest = highest if first else np.maximum(self.highest, highest)

    def as_mapping(self) -> dict[str, list[float]]:
        """Plain numbers, to store beside an episode."""
        if self.total is None or self.squares is None or self.lowest is None or self.highest is None:
            raise ValueError("expected at least one picture")
        mean = self.total / self.pixels
        deviation = np.sqrt(np.maximum(self.squares / self.pixels - mean * mean, 0.0))
        named = {"min": self.lowest, "max": self.highest, "mean": mean, "std": deviation}
        return {**{name: [float(x) for x in vector] for name, vector in named.items()}, "count": [self.pictures]}


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
