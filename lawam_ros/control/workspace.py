"""Keeps Cartesian targets inside the arm's workspace box."""

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import Arm

Array = NDArray[np.float64]


APPROACH_DECELERATION_M_S2 = 0.6
"""What an arm can surely brake with: a target that nears a border faster than this can stop would make the joints overshoot it."""


class WorkspaceFilter:
    """Moves a TCP position to the nearest point of the box, lets it near the borders only as fast as it can stop, and counts intrusions."""

    def __init__(self, arm: Arm, dt_s: float) -> None:
        self._lower = arm.workspace_lower_m
        self._upper = arm.workspace_upper_m
        self._dt_s = dt_s
        self.hits = 0

    def inside(self, position_m: Array, from_m: Array) -> tuple[Array, Array]:
        """Filtered position of this tick and, per axis, whether it was moved.

        from_m: the target of the tick before. An arm that starts outside the box is not pulled in; it only may not go further out.
        """
        lower, upper = np.minimum(self._lower, from_m), np.maximum(self._upper, from_m)
        boxed = np.minimum(np.maximum(position_m, lower), upper)
        if (boxed != position_m).any():
            self.hits += 1
        down, up = self._farthest(from_m - lower), self._farthest(upper - from_m)
        filtered = np.minimum(np.maximum(boxed, np.maximum(from_m - down, lower)), np.minimum(from_m + up, upper))
        return filtered, filtered != position_m

    def _farthest(self, room_m: Array) -> Array:
        """Largest step of this tick after which equal ticks of the approach deceleration still end within the room."""
        half = 0.5 * APPROACH_DECELERATION_M_S2 * self._dt_s
        return (np.sqrt(half * half + 2.0 * APPROACH_DECELERATION_M_S2 * room_m) - half) * self._dt_s
