"""What there is to know about a simulated world at one instant."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Pose
from lawam_ros.sim.cabinet import DrawerState
from lawam_ros.sim.cube_and_pad import CubeState
from lawam_ros.sim.towel import TowelState

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HandState:
    """TCP pose in the robot's base frame, opening of the gripper."""

    tcp: Pose
    gripper_m: float


@dataclass(frozen=True)
class WorldState:
    """Privileged state, frame: the robot's base. Quaternions xyzw. hands: by arm. What does not stand on the table is None."""

    time_s: float
    hands: Mapping[str, HandState]
    cube: CubeState | None = None
    drawer: DrawerState | None = None
    towel: TowelState | None = None

    @property
    def hand(self) -> HandState:
        """The only hand. ValueError where there are more."""
        (hand,) = self.hands.values()
        return hand


@dataclass(frozen=True)
class Snapshot:
    """Everything a camera needs to draw the world at ``time_s``; safe to hand to another thread.

    look: arrays of the model that decide what this episode looks like (colours, light, camera poses), by name; one object per episode.
    """

    time_s: float
    qpos: Array
    mocap_position_m: Array
    mocap_quat_wxyz: Array
    look: Mapping[str, Array]
