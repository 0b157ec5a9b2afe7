"""Keeps Cartesian targets inside the arm's workspace box."""

import math
from collections.abc import Sequence

from lawam_ros.contract.robot import Arm
from lawam_ros.control.scalar_rotations import Vector

APPROACH_DECELERATION_M_S2 = 0.6
"""What an arm can surely brake with: a target that nears a border faster than this can stop would make the joints overshoot it."""


_MIDDLE_M = 0.1


class WorkspaceFilter:
    """Moves a TCP position to the nearest point of the box, lets it near the borders only as fast as it can stop, and counts intrusions."""

    def __init__(self, arm: Arm, dt_s: float) -> None:
        self._borders: list[tuple[float, float]] = list(zip(arm.workspace_lower_m.tolist(), arm.workspace_upper_m.tolist(), strict=True))
        self._dt_s = dt_s
        self._middle_step_m = min(_MIDDLE_M, self._farthest(_MIDDLE_M))
        self.hits = 0

    def inside(self, position_m: Sequence[float], from_m: Sequence[float]) -> tuple[Vector, tuple[bool, bool, bool]]:
        """Filtered position of this tick and, per axis, whether it was moved.

        from_m: the target of the tick before. An arm that starts outside the box is not pulled in; it only may not go further out.
        """
        filtered, outside = [], False
        for place, start, (lower, upper) in zip(position_m, from_m, self._borders, strict=True):
            if lower + _MIDDLE_M < start < upper - _MIDDLE_M and abs(place - start) < self._middle_step_m:
                filtered.append(place)
                continue
            lower, upper = min(lower, start), max(upper, start)
            boxed = min(max(place, lower), upper)
            outside = outside or boxed != place
            lowest, highest = start - self._farthest(start - lower), start + self._farthest(upper - start)
            filtered.append(min(max(boxed, lowest, lower), highest, upper))
        self.hits += outside
        x, y, z = filtered
        return (x, y, z), (x != position_m[0], y != position_m[1], z != position_m[2])

    def _farthest(self, room_m: float) -> float:
        """Largest step of this tick after which equal ticks of the approach deceleration still end within the room."""
        half = 0.5 * APPROACH_DECELERATION_M_S2 * self._dt_s
        return (math.sqrt(half * half + 2.0 * APPROACH_DECELERATION_M_S2 * room_m) - half) * self._dt_s
