"""Mapping between ROS time, used for stamps only, and the executor's monotonic clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass

JUMP_NS = 50_000_000
_DEADBAND_NS = 20_000
_SLEW_PER_UPDATE_NS = 400


@dataclass(frozen=True)
class StampClock:
    """ros = clock + offset_ns. The offset is followed slowly, so that the spacing of stamps stays that of the ticks."""

    offset_ns: int

    def to_ros(self, clock_ns: int) -> int:
        return clock_ns + self.offset_ns

    def to_clock(self, ros_ns: int) -> int:
        return ros_ns - self.offset_ns


def read_offset_ns(ros_now_ns: Callable[[], int]) -> int | None:
    """ROS time minus monotonic time, or None when the thread was interrupted between the readings."""
    before_ns = time.monotonic_ns()
    ros_ns = ros_now_ns()
    after_ns = time.monotonic_ns()
    return ros_ns - (before_ns + after_ns) // 2 if after_ns - before_ns <= _DEADBAND_NS else None


def follow(held: StampClock, measured_offset_ns: int) -> tuple[StampClock, bool]:
    """Offset after one reading, and whether the clocks jumped apart by more than ``JUMP_NS``.

    The reading itself scatters by microseconds; without the dead band the stamps would too, and derivatives over stamps with them.
    The slew is 1e-4 of a 4 ms tick, for which the limiter keeps a reserve (``control.limiter.STAMP_RESERVE``).
    """
    change = measured_offset_ns - held.offset_ns
    if abs(change) > JUMP_NS:
        return StampClock(held.offset_ns + change), True
    if abs(change) <= _DEADBAND_NS:
        return held, False
    return StampClock(held.offset_ns + max(-_SLEW_PER_UPDATE_NS, min(_SLEW_PER_UPDATE_NS, change))), False
