"""The seam between the motion that runs and a new plan: an offset that fades by a quintic."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_DURATIONS_S = np.array([0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3, 1.6, 2.0])
_T = _DURATIONS_S[:, None]
_U = np.linspace(0.0, 1.0, 25)
_RATE_BASIS = np.stack([i * _U ** max(i - 1, 0) for i in range(6)], axis=-1)
_CURVATURE_BASIS = np.stack([i * (i - 1) * _U ** max(i - 2, 0) for i in range(6)], axis=-1)
_FADING = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-10, -6, -3], [15, 8, 3], [-6, -3, -1]], dtype=float)
"""Coefficients of the quintic from the first three."""


@dataclass(frozen=True)
class Seam:
    """Offset to add to a plan, (D,) per time; value and two derivatives are zero from ``start_s + duration_s`` on."""

    start_s: float
    duration_s: float
    coefficients: Array  # (6, D), powers of u = (t - start_s) / duration_s

    def sample(self, time_s: float) -> tuple[list[float], list[float], list[float]] | None:
        """Offset, first and second derivative, D numbers each; None once it has faded."""
        T = self.duration_s
        u = max((time_s - self.start_s) / T, 0.0)
        if u >= 1.0:
            return None
        return (
            [c0 + u * (c1 + u * (c2 + u * (c3 + u * (c4 + u * c5)))) for c0, c1, c2, c3, c4, c5 in self._columns],
            [(c1 + u * (2.0 * c2 + u * (3.0 * c3 + u * (4.0 * c4 + u * 5.0 * c5)))) / T for _, c1, c2, c3, c4, c5 in self._columns],
            [(2.0 * c2 + u * (6.0 * c3 + u * (12.0 * c4 + u * 20.0 * c5))) / (T * T) for _, _, c2, c3, c4, c5 in self._columns],
        )

    @cached_property
    def _columns(self) -> list[list[float]]:
        """Coefficients per dimension as plain numbers, for the tick."""
        columns: list[list[float]] = self.coefficients.T.tolist()
        return columns


def make_seam(start_s: float, duration_s: float, offset: Array, rate: Array, curvature: Array) -> Seam:
    """Quintic that starts with the given offset and derivatives (per second, per second squared) and ends at zero in all three."""
    T = duration_s
    given = np.array([offset, rate, curvature], dtype=float) * [[1.0], [T], [0.5 * T * T]]
    return Seam(start_s, T, _FADING @ given)


def shortest_seam(start_s: float, offset: Array, rate: Array, curvature: Array, rate_limit: float, curvature_limit: float) -> Seam:
    """Seam of the shortest duration whose own speed and acceleration (norms) stay below the limits, or exceed them least; at most 2 s.

    The initial curvature may itself exceed the limit (it is given, not chosen), so it is compared only where it is smaller.
    """
    limit = max(curvature_limit, 1.05 * math.hypot(*curvature.tolist()))
    speed_limit = max(rate_limit, 1.05 * math.hypot(*rate.tolist()))
    given = np.stack([np.broadcast_to(offset, (len(_DURATIONS_S), len(offset))), _T * rate, _T * _T * 0.5 * curvature], axis=1)
    coefficients = _FADING @ given
    speed = _largest(_RATE_BASIS @ coefficients) / _DURATIONS_S
    bend = _largest(_CURVATURE_BASIS @ coefficients) / _DURATIONS_S**2
    excess = np.maximum(np.maximum(speed / speed_limit, bend / limit), 1.0)
    chosen = int(np.argmin(excess))
    return Seam(start_s, float(_DURATIONS_S[chosen]), coefficients[chosen])


def _largest(vectors: Array) -> Array:
    """Largest norm along a course: (K, M, D) to (K,)."""
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=-1).max(axis=-1)))
