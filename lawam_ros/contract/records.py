"""The records that travel between rooms. Messages mirror them one to one (``nodes/messages.py``)."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Pose of a frame in another one: position in m, unit quaternion in ROS order (x, y, z, w)."""

    position_m: Array
    quat_xyzw: Array


@dataclass(frozen=True)
class Observation:
    """What a policy sees, aligned to one instant.

    stamp_ns: reference time (exposure of the slowest camera, sensor latency subtracted), ROS time.
    images: camera name -> uint8 RGB (H, W, 3), already rotated as the contract says.
    image_stamps_ns: camera name -> exposure time.
    tcp: arm name -> measured TCP pose in the arm's base frame at stamp_ns.
    gripper_m: arm name -> measured opening in m, 0 closed.
    joints_rad: measured joint positions at stamp_ns, robot order.
    """

    stamp_ns: int
    images: dict[str, NDArray[np.uint8]]
    image_stamps_ns: dict[str, int]
    tcp: dict[str, Pose]
    gripper_m: dict[str, float]
    joints_rad: Array
    instruction: str
    epoch: int = 0


@dataclass(frozen=True)
class ActionChunk:
    """Absolute targets on absolute time (architecture, section 4; on the wire trajectory_msgs/JointTrajectory).

    components: names ``<arm>/<component>``, D of them.
    values: (N, D); metres, unit quaternions, joint radians, gripper opening in m.
    time_from_start_s: (N,), strictly increasing, relative to stamp_ns.
    committed_steps: delay the chunk was conditioned on in steps, 0 for none.
    """

    stamp_ns: int
    frame_id: str
    components: tuple[str, ...]
    values: Array
    time_from_start_s: Array
    sequence: int
    epoch: int
    contract_crc: int
    committed_steps: int = 0


@dataclass(frozen=True)
class Subgoal:
    """Current and predicted features of one camera: float32 (tokens, features), row-major over the grid (rows, columns)."""

    stamp_ns: int
    camera: str
    grid_hw: tuple[int, int]
    current: NDArray[np.float32]
    predicted: NDArray[np.float32]


@dataclass(frozen=True)
class PolicyOutput:
    """Targets before they are stamped for the wire, the subgoal if the policy has one, and milliseconds per stage."""

    components: tuple[str, ...]
    values: Array
    time_from_start_s: Array
    subgoal: Subgoal | None = None
    stage_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class JointCommand:
    """One set-point after all limits, joints in robot order (all arms concatenated), grippers as opening in m per arm."""

    stamp_ns: int
    positions_rad: Array
    velocities_rad_s: Array
    accelerations_rad_s2: Array
    gripper_m: dict[str, float]
