"""What there is to know about a simulated world at one instant."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Pose
from lawam_ros.sim.cabinet import DrawerState
from lawam_ros.sim.cube_and_pad import CubeState

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WorldState:
    """Privileged state, frame: the arm's base. Quaternions xyzw. What does not stand on the table is None."""

    time_s: float
    tcp: Pose
    gripper_m: float
    cube: CubeState | None = None
    drawer: DrawerState | None = None


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
