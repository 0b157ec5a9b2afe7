"""An independent judge of stamped joint commands. It shares no code with the limiter and knows nothing of ticks or plans."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import JointLimits

Array = NDArray[np.float64]

RELATIVE_TOLERANCE = 1e-6
"""Share of each limit granted for rounding: stamps are whole ns (2.5e-7 of a 4 ms tick) and messages are 64-bit floats."""
POSITION_TOLERANCE_RAD = 1e-9
_ROUNDING_RAD = 4e-15


@dataclass(frozen=True)
class Violation:
    """One limit broken by one joint. quantity: position, velocity, velocity_at_position, velocity_difference, acceleration,
    acceleration_difference, jerk_difference, stamp or non_finite."""

    stamp_ns: int
    joint: int
    quantity: str
    value: float
    limit: float


_QUANTITIES = ("position", "velocity", "acceleration", "velocity_difference", "acceleration_difference", "jerk_difference")


class LimitChecker:
    """Feed commands in order of publication; ``add`` returns what each one breaks.

    Position, velocity and acceleration are taken from the command; velocity, acceleration and jerk also as the difference of positions,
    velocities and accelerations to the command before over the difference of the stamps. A longer step between stamps is legal: it only
    makes the differences smaller. A stamp that does not rise is a violation of its own, unless the command is repeated unchanged.
    ``worst`` keeps, per quantity, the largest share of its limit so far, broken or not.
    """

    def __init__(self, limits: JointLimits) -> None:
        self._limits = limits
        self._middle_rad = 0.5 * (limits.upper_rad + limits.lower_rad)
        half_range_rad, speed, acceleration = 0.5 * (limits.upper_rad - limits.lower_rad), limits.velocity_rad_s, limits.acceleration_rad_s2
        self._bounds = np.maximum([half_range_rad, speed, acceleration, speed, acceleration, limits.jerk_rad_s3], 1e-9)
        self._last: tuple[int, Array, Array, Array] | None = None
        self.commands = 0
        self.violations = 0
        self.worst: dict[str, float] = {}

    def restart(self) -> None:
        """Forget the command before: after an activation the commands start anew from the measured joints."""
        self._last = None

    def add(self, stamp_ns: int, positions: Array, velocities: Array, accelerations: Array) -> list[Violation]:
        """Violations of one command; vectors (n,) in rad, rad/s, rad/s2."""
        q, v, a = (np.array(values, dtype=float) for values in (positions, velocities, accelerations))
        now = (int(stamp_ns), q, v, a)
        if self._plainly_within(now):
            self._last = now
            self.commands += 1
            return []
        found = self._alone(int(stamp_ns), q, v, a)
        if self._last is not None:
            found += self._against(self._last, now)
        self._last = now
        self.commands += 1
        self.violations += len(found)
        return found

    def _plainly_within(self, now: tuple[int, Array, Array, Array]) -> bool:
        """Whether nothing needs a closer look, as with nearly all commands: six rows of numbers at once. Then ``worst`` is kept too."""
        if self._last is None or now[0] <= self._last[0] or self._limits.envelope is not None:
            return False
        values = np.empty((6, len(now[1])))
        values[:3], values[3:] = now[1:], now[1:]
        values[0] -= self._middle_rad
        values[3:] -= self._last[1:]
        values[3:] /= (now[0] - self._last[0]) / 1e9
        shares = np.abs(values, out=values)
        shares /= self._bounds
        peaks = shares.max(axis=1).tolist()
        if not all(peak <= 1.0 for peak in peaks):  # not finite either
            return False
        for quantity, peak in zip(_QUANTITIES, peaks, strict=True):
            self.worst[quantity] = max(self.worst.get(quantity, 0.0), peak)
        return True

    def _alone(self, stamp_ns: int, q: Array, v: Array, a: Array) -> list[Violation]:
        limits = self._limits
        bad = ~np.isfinite(q + v + a)
        found = [Violation(stamp_ns, int(j), "non_finite", float("nan"), 0.0) for j in np.flatnonzero(bad)]
        for j in np.flatnonzero(q > limits.upper_rad + POSITION_TOLERANCE_RAD):
            found.append(Violation(stamp_ns, int(j), "position", float(q[j]), float(limits.upper_rad[j])))
        for j in np.flatnonzero(q < limits.lower_rad - POSITION_TOLERANCE_RAD):
            found.append(Violation(stamp_ns, int(j), "position", float(q[j]), float(limits.lower_rad[j])))
        self._note("position", 2.0 * q - limits.upper_rad - limits.lower_rad, limits.upper_rad - limits.lower_rad)
        found += self._beyond(stamp_ns, "velocity", v, limits.velocity_rad_s, 0.0)
        found += self._beyond(stamp_ns, "acceleration", a, limits.acceleration_rad_s2, 0.0)
        if limits.envelope is not None:
            found += self._beyond(stamp_ns, "velocity_at_position", v, _allowed_at(limits, q, v), 1e-9)
        return found

    def _against(self, last: tuple[int, Array, Array, Array], now: tuple[int, Array, Array, Array]) -> list[Violation]:
        stamp_ns, limits = now[0], self._limits
        if stamp_ns <= last[0]:
            same = stamp_ns == last[0] and all(np.array_equal(x, y) for x, y in zip(last[1:], now[1:], strict=True))
            return [] if same else [Violation(stamp_ns, -1, "stamp", float(stamp_ns - last[0]), 0.0)]
        step_s = (stamp_ns - last[0]) / 1e9
        found = []
        for quantity, values, before, limit in (
            ("velocity_difference", now[1], last[1], limits.velocity_rad_s),
            ("acceleration_difference", now[2], last[2], limits.acceleration_rad_s2),
            ("jerk_difference", now[3], last[3], limits.jerk_rad_s3),
        ):
            found += self._beyond(stamp_ns, quantity, (values - before) / step_s, limit, _ROUNDING_RAD / step_s)
        return found

    def _beyond(self, stamp_ns: int, quantity: str, values: Array, limit: Array, rounding: float) -> list[Violation]:
        self._note(quantity, values, limit)
        over = np.flatnonzero(np.abs(values) > limit * (1.0 + RELATIVE_TOLERANCE) + rounding)
        return [Violation(stamp_ns, int(j), quantity, float(values[j]), float(limit[j])) for j in over]

    def _note(self, quantity: str, values: Array, limit: Array) -> None:
        shares = np.abs(values) / np.maximum(limit, 1e-9)
        self.worst[quantity] = max(self.worst.get(quantity, 0.0), float(np.nanmax(shares, initial=0.0)))


def check_commands(
    stamps_ns: Iterable[int], positions: Array, velocities: Array, accelerations: Array, limits: JointLimits
) -> list[Violation]:
    """Violations of a whole run: M stamps (int ns) and (M, n) arrays in rad, rad/s, rad/s2. See LimitChecker."""
    checker = LimitChecker(limits)
    found: list[Violation] = []
    for stamp_ns, q, v, a in zip(stamps_ns, positions, velocities, accelerations, strict=True):
        found += checker.add(stamp_ns, q, v, a)
    return found


def _allowed_at(limits: JointLimits, q: Array, v: Array) -> Array:
    """Largest speed in the direction of motion at each joint's position, at least what the position itself allows for rounding."""
    envelope = limits.envelope
    if envelope is None:
        return limits.velocity_rad_s
    room = np.where(v > 0.0, envelope.upper_rad - q, q - envelope.lower_rad)
    curve = envelope.share * (np.sqrt(2.0 * envelope.deceleration_rad_s2 * np.maximum(room, 0.0)) - envelope.offset_rad_s)
    return np.asarray(np.minimum(limits.velocity_rad_s, np.maximum(curve, 0.0)))
