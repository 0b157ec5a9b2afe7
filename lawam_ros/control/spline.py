"""Cubic spline with continuous second derivative through waypoints."""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class CubicSpline:
    """C2 through (N, D) waypoints at strictly increasing times (s), N >= 1.

    The end velocity is the one between the last two waypoints, not zero: a chunk is a window on a motion that goes on. At the start the
    second derivative is zero. Outside its times the spline goes on in a straight line.
    """

    def __init__(self, times_s: Array, coefficients: Array) -> None:
        """coefficients: (N + 1, 4, D) as ``through`` makes them."""
        self.times_s = times_s
        self._knots: list[float] = times_s.tolist()
        self._coefficients = coefficients
        self._segments: dict[int, list[tuple[float, float, float, float]]] = {}

    @classmethod
    def through(cls, times_s: Array, waypoints: Array) -> "CubicSpline":
        """Raises ValueError for times that do not rise, or that are not as many as the waypoints."""
        times, points = np.asarray(times_s, dtype=float), np.asarray(waypoints, dtype=float)
        if points.ndim != 2 or times.shape != points.shape[:1] or len(points) == 0:
            raise ValueError(f"expected N times and (N, D) waypoints, got {times.shape} and {points.shape}")
        if np.any(np.diff(times) <= 0.0):
            raise ValueError("expected strictly increasing waypoint times")
        return cls(times, _coefficients(times, points, _knot_velocities(times, points)))

    def columns(self, first: int, end: int) -> "CubicSpline":
        """The spline of some of the dimensions."""
        return CubicSpline(self.times_s, self._coefficients[..., first:end])

    @property
    def start_s(self) -> float:
        return self._knots[0]

    @property
    def end_s(self) -> float:
        return self._knots[-1]

    def sample(self, time_s: float) -> tuple[list[float], list[float], list[float]]:
        """Value, first and second derivative, D numbers each."""
        index = bisect_right(self._knots, time_s)
        segment, u = self._segment(index), time_s - self._knots[index - 1 if index else 0]
        return (
            [a + u * (b + u * (c + u * d)) for a, b, c, d in segment],
            [b + u * (2.0 * c + 3.0 * u * d) for _, b, c, d in segment],
            [2.0 * c + 6.0 * u * d for _, _, c, d in segment],
        )

    def _segment(self, index: int) -> list[tuple[float, float, float, float]]:
        """Plain numbers for the tick: few dimensions are cheaper one by one than as an array. Of most plans a few segments are used."""
        found = self._segments.get(index)
        if found is None:
            found = self._segments[index] = self._coefficients[index].T.tolist()
        return found

    def sample_many(self, times_s: Array) -> tuple[Array, Array]:
        """Values and first derivatives at M times, (M, D) each."""
        times = np.asarray(times_s, dtype=float)
        index = np.searchsorted(self.times_s, times, side="right")
        c = self._coefficients[index]
        u = (times - self.times_s[np.maximum(index - 1, 0)])[:, None]
        return c[:, 0] + u * (c[:, 1] + u * (c[:, 2] + u * c[:, 3])), c[:, 1] + u * (2.0 * c[:, 2] + 3.0 * u * c[:, 3])


def _coefficients(times: Array, points: Array, velocities: Array) -> Array:
    """Polynomials (N + 1, 4, D): the straight line before the first knot, N - 1 segments, the straight line after the last."""
    n, d = points.shape
    out = np.zeros((n + 1, 4, d))
    out[0, 0], out[0, 1] = points[0], velocities[0]
    out[n, 0], out[n, 1] = points[-1], velocities[-1]
    if n > 1:
        h = np.diff(times)[:, None]
        secant = np.diff(points, axis=0) / h
        out[1:n, 0], out[1:n, 1] = points[:-1], velocities[:-1]
        out[1:n, 2] = (3.0 * secant - 2.0 * velocities[:-1] - velocities[1:]) / h
        out[1:n, 3] = (velocities[:-1] + velocities[1:] - 2.0 * secant) / h**2
    return out


def _knot_velocities(times: Array, points: Array) -> Array:
    """Velocities (N, D) that make the second derivative continuous: a tridiagonal system, solved by elimination in O(N)."""
    n = len(points)
    if n == 1:
        return np.zeros_like(points)
    steps = np.diff(times)
    secant = np.diff(points, axis=0) / steps[:, None]
    if n == 2:
        return np.stack([secant[0], secant[0]])
    # Row 0: zero second derivative, 2 v0 + v1 = 3 secant0. Inner rows: continuity. The last velocity is given.
    inner = 3.0 * (steps[1:, None] * secant[:-1] + steps[:-1, None] * secant[1:])
    h: list[float] = steps.tolist()
    right: list[list[float]] = [(3.0 * secant[0]).tolist(), *inner.tolist()]
    diagonal = [2.0]
    upper = [1.0]
    for i in range(1, n - 1):
        weight = h[i] / diagonal[i - 1]
        diagonal.append(2.0 * (h[i - 1] + h[i]) - weight * upper[i - 1])
        right[i] = [value - weight * before for value, before in zip(right[i], right[i - 1], strict=True)]
        upper.append(h[i - 1])
    velocities: list[list[float]] = [secant[-1].tolist()]
    for i in range(n - 2, -1, -1):
        velocities.append([(value - upper[i] * after) / diagonal[i] for value, after in zip(right[i], velocities[-1], strict=True)])
    return np.array(velocities[::-1])
