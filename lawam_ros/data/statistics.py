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
    """How often each value occurred, per channel in RGB order; statistics of it are in 0..1."""

    def __init__(self) -> None:
        self._pictures = 0
        self._occurrences = np.zeros((3, 256), dtype=np.int64)

    def add(self, picture: NDArray[np.uint8]) -> None:
        """One RGB picture (H, W, 3)."""
        self._pictures += 1
        for channel, occurrences in enumerate(self._occurrences):
            occurrences += np.bincount(picture[..., channel].ravel(), minlength=256)

    def as_mapping(self) -> dict[str, list[float]]:
        """Plain numbers, to store beside an episode."""
        if not self._pictures:
            raise ValueError("expected at least one picture")
        values = np.arange(256) / 255.0
        shares = self._occurrences / self._occurrences.sum(axis=1, keepdims=True)
        mean = shares @ values
        deviation = np.sqrt(np.maximum(shares @ values**2 - mean * mean, 0.0))
        seen = [values[occurrences > 0] for occurrences in self._occurrences]
        named = {"min": [v[0] for v in seen], "max": [v[-1] for v in seen], "mean": mean, "std": deviation}
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
