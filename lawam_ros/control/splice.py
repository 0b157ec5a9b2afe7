"""The seam between the motion that runs and a new plan: an offset that fades by a quintic."""

import math
from collections.abc import Sequence
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


def shortest_seams(start_s: float, offsets: Array, rates: Array, curvatures: Array, limits: Sequence[tuple[float, float]]) -> list[Seam]:
    """Seams of the shortest durations whose own speed and acceleration (norms) stay below the limits, or exceed them least; at most 2 s.

    offsets, rates, curvatures: (S, D), a row per seam; limits: of rate and curvature, per seam. What is given at the beginning may itself
    exceed the limits, so they are compared only where they are larger.
    """
    most = [
        (max(top, 1.05 * math.hypot(*rate)), max(bend, 1.05 * math.hypot(*curvature)))
        for (top, bend), rate, curvature in zip(limits, rates.tolist(), curvatures.tolist(), strict=True)
    ]
    given = np.empty((len(offsets), len(_DURATIONS_S), 3, offsets.shape[1]))
    given[:, :, 0] = offsets[:, None]
    given[:, :, 1] = _T * rates[:, None]
    given[:, :, 2] = _T * _T * 0.5 * curvatures[:, None]
    coefficients = _FADING @ given
    speeds = _largest(_RATE_BASIS @ coefficients) / _DURATIONS_S
    bends = _largest(_CURVATURE_BASIS @ coefficients) / _DURATIONS_S**2
    top, bend = np.array(most).T[..., None]
    chosen = np.maximum(np.maximum(speeds / top, bends / bend), 1.0).argmin(axis=-1).tolist()
    return [Seam(start_s, float(_DURATIONS_S[k]), options[k]) for k, options in zip(chosen, coefficients, strict=True)]


def seam_rates(seams: Sequence[Seam], times_s: Array) -> Array:
    """First derivatives (S, M, D) of seams of equally many dimensions at M times."""
    starts, durations = np.array([[seam.start_s, seam.duration_s] for seam in seams]).T[..., None]
    u = np.clip((times_s - starts) / durations, 0.0, 1.0)
    basis = np.stack([i * u ** max(i - 1, 0) for i in range(6)], axis=-1)
    return np.asarray(basis @ np.array([seam.coefficients for seam in seams]) / durations[..., None])


def _largest(vectors: Array) -> Array:
    """Largest norm along a course: (..., M, D) to (...)."""
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=-1).max(axis=-1)))
