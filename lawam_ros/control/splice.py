"""The seam between the motion that runs and a new plan: an offset that fades by a quintic."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_DURATIONS_S = np.array([0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3, 1.6, 2.0])
_U = np.linspace(0.0, 1.0, 25)


@dataclass(frozen=True)
class Seam:
    """Offset to add to a plan, (D,) per time; value and two derivatives are zero from ``start_s + duration_s`` on."""

    start_s: float
    duration_s: float
    coefficients: Array  # (6, D), powers of u = (t - start_s) / duration_s

    def sample(self, time_s: float) -> tuple[Array, Array, Array] | None:
        """Offset, first and second derivative, (D,) each; None once it has faded."""
        u = max((time_s - self.start_s) / self.duration_s, 0.0)
        if u >= 1.0:
            return None
        T = self.duration_s
        u2, u3, u4 = u * u, u**3, u**4
        powers = np.array(
            [
                [1.0, u, u2, u3, u4, u4 * u],
                [0.0, 1.0 / T, 2.0 * u / T, 3.0 * u2 / T, 4.0 * u3 / T, 5.0 * u4 / T],
                [0.0, 0.0, 2.0 / T**2, 6.0 * u / T**2, 12.0 * u2 / T**2, 20.0 * u3 / T**2],
            ]
        )
        e, de, dde = powers @ self.coefficients
        return e, de, dde


def make_seam(start_s: float, duration_s: float, offset: Array, rate: Array, curvature: Array) -> Seam:
    """Quintic that starts with the given offset and derivatives (per second, per second squared) and ends at zero in all three."""
    T = duration_s
    c0, c1, c2 = np.asarray(offset, dtype=float), np.asarray(rate, dtype=float) * T, np.asarray(curvature, dtype=float) * T**2 / 2.0
    c3 = -10.0 * c0 - 6.0 * c1 - 3.0 * c2
    c4 = 15.0 * c0 + 8.0 * c1 + 3.0 * c2
    c5 = -6.0 * c0 - 3.0 * c1 - c2
    return Seam(start_s, T, np.array([c0, c1, c2, c3, c4, c5]))


def shortest_seam(start_s: float, offset: Array, rate: Array, curvature: Array, rate_limit: float, curvature_limit: float) -> Seam:
    """Seam of the shortest duration whose own speed and acceleration (norms) stay below the limits, at most 2 s.

    The initial curvature may itself exceed the limit (it is given, not chosen), so it is compared only where it is smaller.
    """
    limit = max(curvature_limit, 1.05 * float(np.linalg.norm(curvature)))
    speed_limit = max(rate_limit, 1.05 * float(np.linalg.norm(rate)))
    basis_rate = np.stack([i * _U ** max(i - 1, 0) for i in range(6)], axis=-1)
    basis_curvature = np.stack([i * (i - 1) * _U ** max(i - 2, 0) for i in range(6)], axis=-1)
    seam = make_seam(start_s, float(_DURATIONS_S[0]), offset, rate, curvature)
    for duration in _DURATIONS_S:
        seam = make_seam(start_s, float(duration), offset, rate, curvature)
        speed = np.linalg.norm(basis_rate @ seam.coefficients, axis=-1).max() / duration
        bend = np.linalg.norm(basis_curvature @ seam.coefficients, axis=-1).max() / duration**2
        if speed <= speed_limit and bend <= limit:
            break
    return seam


def left_jacobian(rotvec: Array) -> Array:
    """Left Jacobian (3, 3) of SO(3): angular velocity = left_jacobian(r) @ dr/dt for the rotation exp(r)."""
    angle2 = float(rotvec @ rotvec)
    x, y, z = rotvec
    K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle2 < 1e-8:
        return np.asarray(np.eye(3) + 0.5 * K + (K @ K) / 6.0)
    angle = np.sqrt(angle2)
    return np.asarray(np.eye(3) + (1.0 - np.cos(angle)) / angle2 * K + (angle - np.sin(angle)) / (angle2 * angle) * (K @ K))
