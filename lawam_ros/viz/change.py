"""Where the predicted scene differs from the present one, with or without what the world model adds to every prediction."""

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]

_WINDOW = 50
_ENOUGH = 5
"""Predictions: the mean is taken over about the last _WINDOW of them, and used from _ENOUGH on."""


class ChangeMap:
    """Predicted change per patch. A world model that is a little wrong at one place in every picture shows a blob there that never moves;
    the mean of the last predictions is that blob, and what is left without it is about this picture."""

    def __init__(self) -> None:
        self._mean: Features | None = None
        self._count = 0

    @property
    def bias_known(self) -> bool:
        return self._count >= _ENOUGH

    def update(self, current: Features, predicted: Features) -> None:
        """Learn from one prediction; features (tokens, F)."""
        change = predicted - current
        if self._mean is None or self._mean.shape != change.shape:
            self._mean, self._count = np.zeros_like(change), 0
        self._count = min(self._count + 1, _WINDOW)
        self._mean += (change - self._mean) / self._count

    def map(self, current: Features, predicted: Features, grid_hw: tuple[int, int], remove_bias: bool) -> NDArray[np.float32]:
        """Length of the change over the typical length of a feature, (rows, columns). The bias is removed where asked for and known."""
        change = predicted - current
        if remove_bias and self.bias_known and self._mean is not None:
            change = change - self._mean
        typical = max(float(np.linalg.norm(current, axis=-1).mean()), 1e-9)
        return (np.linalg.norm(change, axis=-1) / typical).reshape(grid_hw).astype(np.float32)
