"""How fast a plan is run through: rate 1 is as planned, lower keeps the Cartesian speed limit and brings the tail to rest on the path."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GRID_S = 0.02
_RISE_PER_S = 4.0
_FALL_CAP_PER_S = 20.0


class PaceCurve:
    """Largest allowed rate over plan time: never above 1, zero at the end, and reachable by braking.

    times_s: (M,) equidistant plan times, the last is the end. speed_share: (M,) Cartesian speed over its limit at rate 1.
    fall_per_s: (M,) change of rate per second that equals the allowed Cartesian deceleration there.
    """

    def __init__(self, times_s: Array, speed_share: Array, fall_per_s: Array) -> None:
        self.end_s = float(times_s[-1])
        self._start_s = float(times_s[0])
        self._step_s = float(times_s[1] - times_s[0]) if len(times_s) > 1 else 1.0
        squared = (1.0 / np.maximum(speed_share, 1.0)) ** 2
        fall = np.minimum(fall_per_s, _FALL_CAP_PER_S)
        squared[-1] = 0.0
        for i in range(len(squared) - 2, -1, -1):
            squared[i] = min(squared[i], squared[i + 1] + 2.0 * min(fall[i], fall[i + 1]) * self._step_s)
        self._squared: list[float] = squared.tolist()
        self._fall: list[float] = fall.tolist()

    def limit(self, time_s: float) -> float:
        """Largest rate at a plan time. The square is interpolated: constant braking is a straight line there."""
        if time_s >= self.end_s:
            return 0.0
        place = max(0.0, (time_s - self._start_s) / self._step_s)
        i = min(int(place), len(self._squared) - 2)
        share = place - i
        return math.sqrt(max(0.0, (1.0 - share) * self._squared[i] + share * self._squared[i + 1]))

    def fall(self, time_s: float) -> float:
        i = int(max(0.0, (time_s - self._start_s) / self._step_s))
        return self._fall[min(i, len(self._fall) - 1)]


class Pace:
    """Plan time and its rate, advanced tick by tick."""

    def __init__(self, curve: PaceCurve, time_s: float = 0.0, rate: float = 1.0) -> None:
        self._curve = curve
        self.time_s = time_s
        self.rate = rate

    @property
    def finished(self) -> bool:
        return self.time_s >= self._curve.end_s

    def advance(self, dt_s: float, scale: float = 1.0) -> None:
        """One tick. scale: 0 brakes to rest on the path (hold), between 0 and 1 slows down when the joints cannot follow."""
        fall = max(self._curve.fall(self.time_s), 1.0)
        wanted = min(self._curve.limit(self.time_s), scale)
        if wanted >= self.rate:
            self.rate = min(wanted, self.rate + _RISE_PER_S * dt_s)
        else:
            # Above the curve (a new plan that is faster than allowed) the rate falls twice as fast, but never in a jump.
            self.rate = max(wanted, self.rate - (2.0 if self.rate > self._curve.limit(self.time_s) else 1.0) * fall * dt_s)
        self.time_s = min(self.time_s + max(self.rate, 1e-3 if scale > 0.0 else 0.0) * dt_s, self._curve.end_s)
        if self.finished:
            self.rate = 0.0


def curve_of(end_s: float, speeds: "SpeedProfile") -> PaceCurve:
    """Pace curve of a plan of ``end_s`` seconds from speeds sampled on ``grid(end_s)``."""
    return PaceCurve(grid(end_s), speeds.share, speeds.fall_per_s)


def grid(end_s: float) -> Array:
    """Plan times at which speeds are sampled."""
    return np.linspace(0.0, end_s, max(2, math.ceil(end_s / GRID_S) + 1))


class SpeedProfile:
    """Largest share of the speed limits over several arms, and the slowest allowed fall of the rate."""

    def __init__(self, samples: int) -> None:
        self.share = np.zeros(samples)
        self._decelerations = np.full(samples, 1e-3)

    def add(self, speed: Array, limit: float, deceleration: float) -> None:
        """speed: (M,) norms in m/s or rad/s; limit in the same unit; deceleration per second."""
        self.share = np.maximum(self.share, speed / limit)
        self._decelerations = np.maximum(self._decelerations, speed / deceleration)

    @property
    def fall_per_s(self) -> Array:
        return 1.0 / self._decelerations
