"""Keeps Cartesian targets inside the arm's workspace box."""

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import Arm

Array = NDArray[np.float64]


class WorkspaceFilter:
    """Moves a TCP position to the nearest point of the box and counts how often it had to."""

    def __init__(self, arm: Arm) -> None:
        self._lower = arm.workspace_lower_m
        self._upper = arm.workspace_upper_m
        self.hits = 0

    def inside(self, position_m: Array, from_m: Array) -> tuple[Array, Array]:
        """Filtered position and, per axis, whether it was moved.

        from_m: the last commanded position. An arm that starts outside the box is not pulled in; it only may not go further out.
        """
        lower, upper = np.minimum(self._lower, from_m), np.maximum(self._upper, from_m)
        filtered = np.minimum(np.maximum(position_m, lower), upper)
        moved = filtered != position_m
        if moved.any():
            self.hits += 1
        return filtered, moved
