"""How fast a plan is run through: rate 1 is as planned, lower keeps the Cartesian speed limit and brings the tail to rest on the path."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GRID_S = 0.02
_RISE_PER_S = 4.0
_FALL_CAP_PER_S = 20.0
_ARRIVE_PER_S = 40.0
_ARRIVED_S = 2e-4
_SHORTEST_BRAKING_S = 1e-3


class PaceCurve:
    """Largest allowed rate over plan time: never above 1, zero at the end, and reachable by braking.

    times_s: (M,) equidistant plan times, the last is the end. speed_share: (M,) Cartesian speed over its limit at rate 1.
    fall_per_s: (M,) change of rate per second that equals the allowed Cartesian deceleration there.
    """

    def __init__(self, times_s: Array, speed_share: Array, fall_per_s: Array) -> None:
        self.end_s = float(times_s[-1])
        self._start_s = float(times_s[0])
        self._step_s = float(times_s[1] - times_s[0]) if len(times_s) > 1 else 1.0
        fall = np.minimum(fall_per_s, _FALL_CAP_PER_S)
        by_speed = (1.0 / np.maximum(speed_share, 1.0)) ** 2
        self._fall: list[float] = fall.tolist()
        self._cruise_squared = _reachable(by_speed, fall, self._step_s)
        by_speed[-1] = 0.0
        self._squared = _reachable(by_speed, fall, self._step_s)

    def limit(self, time_s: float) -> float:
        """Largest rate at a plan time.

        The square is interpolated (constant braking is a straight line there); the last bit is approached exponentially, without a jerk.
        """
        if time_s >= self.end_s:
            return 0.0
        return min(self._interpolated(self._squared, time_s), self._arrival(self.end_s - time_s))

    def cruise_limit(self, time_s: float) -> float:
        """Largest rate as far as speed goes, whatever the end of the plan."""
        return self._interpolated(self._cruise_squared, time_s)

    def _interpolated(self, squared: list[float], time_s: float) -> float:
        place = min(max(0.0, (time_s - self._start_s) / self._step_s), len(squared) - 1.0)
        i = min(int(place), len(squared) - 2)
        share = place - i
        return math.sqrt((1.0 - share) * squared[i] + share * squared[i + 1])

    def _arrival(self, left_s: float) -> float:
        fall = self._fall[-1]
        knee_s = fall / _ARRIVE_PER_S**2
        return _ARRIVE_PER_S * left_s if left_s <= knee_s else math.sqrt(2.0 * fall * (left_s - 0.5 * knee_s))

    def fall(self, time_s: float) -> float:
        i = int(max(0.0, (time_s - self._start_s) / self._step_s))
        return self._fall[min(i, len(self._fall) - 1)]


def _reachable(squared: Array, fall_per_s: Array, step_s: float) -> list[float]:
    """Squared rates lowered to what braking at ``fall_per_s`` can still reach, from the end backwards."""
    out: list[float] = squared.tolist()
    steps: list[float] = (2.0 * np.minimum(fall_per_s[:-1], fall_per_s[1:]) * step_s).tolist()
    for i in range(len(steps) - 1, -1, -1):
        out[i] = min(out[i], out[i + 1] + steps[i])
    return out


class Pace:
    """Plan time and seam time with their rates, advanced tick by tick.

    Both run alike until the tail of the plan: there plan time brakes to its end, while the seam goes on fading, so that a plan shorter than
    its seam still arrives at its last point.
    """

    def __init__(self, curve: PaceCurve, seam_end_s: float = 0.0, rate: float = 1.0) -> None:
        self._curve = curve
        self._seam_end_s = seam_end_s
        self.time_s = 0.0
        self.rate = rate
        self.seam_time_s = 0.0
        self.seam_rate = 1.0
        self.rate_per_s = 0.0
        self.seam_rate_per_s = 0.0

    @property
    def finished(self) -> bool:
        """The plan is at its end and the seam has faded."""
        return self.time_s >= self._curve.end_s and self.seam_time_s >= self._seam_end_s

    @property
    def still(self) -> bool:
        """Nothing moves the targets any more: finished, or held."""
        return self.rate == 0.0 and (self.seam_rate == 0.0 or self.seam_time_s >= self._seam_end_s)

    def advance(self, dt_s: float, scale: float = 1.0) -> None:
        """One tick. scale: 0 brakes to rest on the path (hold), between 0 and 1 slows down when the joints cannot follow."""
        rate, seam_rate = self.rate, self.seam_rate
        self._advance(dt_s, scale)
        self.rate_per_s, self.seam_rate_per_s = (self.rate - rate) / dt_s, (self.seam_rate - seam_rate) / dt_s

    def _advance(self, dt_s: float, scale: float) -> None:
        fall_step = max(self._curve.fall(self.time_s), 1.0) * dt_s
        self.seam_rate = _towards(self.seam_rate, min(self._curve.cruise_limit(self.time_s), scale), fall_step, dt_s)
        self.seam_time_s += self.seam_rate * dt_s
        if self.time_s >= self._curve.end_s:
            self.rate = 0.0
            return
        limit = self._curve.limit(self.time_s)
        # Above the curve (a new plan that is faster than allowed) the rate falls twice as fast, but never in a jump.
        self.rate = _towards(self.rate, min(limit, scale), fall_step * (2.0 if self.rate > limit else 1.0), dt_s)
        self.time_s += self.rate * dt_s
        if self.time_s > self._curve.end_s - _ARRIVED_S:
            self.time_s = self._curve.end_s
            self.rate = 0.0


def _towards(rate: float, wanted: float, fall_step: float, dt_s: float) -> float:
    return min(wanted, rate + _RISE_PER_S * dt_s) if wanted >= rate else max(wanted, rate - fall_step)


def curve_of(times_s: Array, speeds: Array, limits: Array, decelerations: Array) -> PaceCurve:
    """Pace curve of a plan for all that moves in it: the slowest decides.

    times_s: (M,), ``grid`` of the plan; speeds: (K, M) in m/s or rad/s at rate 1; limits, decelerations: (K,) in the same unit, per second.
    """
    shares, braking_s = (speeds / limits[:, None]).max(axis=0), (speeds / decelerations[:, None]).max(axis=0)
    return PaceCurve(times_s, shares, 1.0 / np.maximum(braking_s, _SHORTEST_BRAKING_S))


def grid(end_s: float) -> Array:
    """Plan times at which speeds are sampled."""
    return np.linspace(0.0, end_s, max(2, math.ceil(end_s / GRID_S) + 1))
