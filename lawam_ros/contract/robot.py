"""A robot as the rest of the package sees it; ``robot_file`` reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.bridge import Bridge
from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.official import Official
from lawam_ros.contract.real import RealRobot
from lawam_ros.contract.records import Pose

Array = NDArray[np.float64]
Drive = RealRobot | Bridge

CARTESIAN_COMPONENTS = ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper")


@dataclass(frozen=True)
class VelocityEnvelope:
    """Velocity limits that shrink towards the position limits, as the FR3 has them (vendor documentation, 2026).

    Upwards share * max(0, sqrt(2 deceleration (upper - q)) - offset) at position q, downwards likewise to ``lower``; (n,) each. ``share``
    is the robot file's ``fraction``. Joints without such limits have infinite bounds.
    """

    lower_rad: Array
    upper_rad: Array
    offset_rad_s: Array
    deceleration_rad_s2: Array
    share: Array

    def upwards(self, position_rad: Array) -> Array:
        """Largest velocity (n,) at a position."""
        return self._allowed(self.upper_rad - position_rad)

    def downwards(self, position_rad: Array) -> Array:
        """Largest speed (n,) in negative direction at a position."""
        return self._allowed(position_rad - self.lower_rad)

    def _allowed(self, room_rad: Array) -> Array:
        braked = np.sqrt(2.0 * self.deceleration_rad_s2 * np.maximum(room_rad, 0.0)) - self.offset_rad_s
        return np.asarray(self.share * np.maximum(braked, 0.0))


@dataclass(frozen=True)
class JointLimits:
    """Limits the limiter enforces: position bounds already moved in by the margin, derivatives already scaled by ``fraction``."""

    lower_rad: Array
    upper_rad: Array
    velocity_rad_s: Array
    acceleration_rad_s2: Array
    jerk_rad_s3: Array
    envelope: VelocityEnvelope | None = None


@dataclass(frozen=True)
class Gripper:
    """A parallel gripper commanded by its opening; ``opening_m = opening_per_joint * finger joint position``."""

    joints: tuple[str, ...]
    opening_max_m: float
    velocity_m_s: float
    opening_per_joint: float


@dataclass(frozen=True)
class Arm:
    """One serial arm. Workspace bounds are in ``base_frame``, for the TCP.

    limit_fraction, position_margin_rad: what has been applied to the vendor's figures to get ``limits``.
    """

    name: str
    base_frame: str
    tcp_frame: str
    joints: tuple[str, ...]
    home_rad: Array
    limits: JointLimits
    tcp_velocity_m_s: float
    tcp_angular_velocity_rad_s: float
    workspace_lower_m: Array
    workspace_upper_m: Array
    gripper: Gripper
    limit_fraction: float
    position_margin_rad: float


@dataclass(frozen=True)
class CameraMount:
    """Where a camera sits: the URDF link that carries it, and its optical frame in that link (x right and y down in its own picture)."""

    link: str
    optical: Pose


COMPRESSED = "/compressed"
"""How the topic of compressed images ends, as image_transport names it."""


@dataclass(frozen=True)
class Camera:
    """A colour camera: its default topic (relative), expected image size, mounting rotation and calibrated exposure-to-stamp latency.

    width, height: of the picture that policies see, after ``rotate_deg``. topic: raw images, or JPEG and PNG where it ends in COMPRESSED.
    mount: from calibration; None where only TF knows, or nobody.
    """

    name: str
    topic: str
    width: int
    height: int
    rate_hz: float
    rotate_deg: int
    latency_s: float
    mount: CameraMount | None = None

    @property
    def mounted_hw(self) -> tuple[int, int]:
        """Height and width of the picture on the topic, before ``rotate_deg``."""
        return (self.width, self.height) if self.rotate_deg % 180 else (self.height, self.width)

    @property
    def info_topic(self) -> str:
        """Topic of the calibration, beside that of the images."""
        return self.topic.removesuffix(COMPRESSED).rpartition("/")[0] + "/camera_info"

    @property
    def is_compressed(self) -> bool:
        return self.topic.endswith(COMPRESSED)

    @property
    def is_rectified(self) -> bool:
        """Whether the driver takes the distortion out, by the names of ROS image pipelines."""
        return "rect" in self.topic.removesuffix(COMPRESSED).rpartition("/")[2]


@dataclass(frozen=True)
class Budgets:
    """Ages and distances beyond which data are refused or motion ends (seconds, rad, m)."""

    camera_age_s: float
    joint_state_age_s: float
    camera_joint_skew_s: float
    heartbeat_age_s: float
    max_chunk_age_s: float
    future_stamp_s: float
    chunk_start_distance_m: float
    chunk_start_angle_rad: float
    tracking_error_rad: float


@dataclass(frozen=True)
class Proximity:
    """What must not touch: spheres that go with the TCPs, the table, and the spheres of the other arms.

    spheres: arm -> (K, 4) x y z radius in its TCP frame, m. table_z_m: height in the robot's ``base_frame`` that spheres stay above, None
    for no table. clearance_m: distance kept between surfaces.
    """

    spheres: dict[str, Array]
    table_z_m: float | None
    clearance_m: float


@dataclass(frozen=True)
class Safety:
    """What the executor asks of the operator's switches and of who else publishes (robot file, ``safety``).

    deadman_required: motion only while ``lawam/deadman`` says true. estop_required: ``lawam/estop`` must keep talking; otherwise nobody
    need publish it, though a true stops the arm all the same. max_age_s: longest silence of a required switch. second_chunk_publisher:
    what a second publisher of chunks leads to, one of SECOND_PUBLISHER. uniform_image: what a black or saturated camera leads to, one of
    UNIFORM_IMAGE; held, the arm comes to rest as for a camera that stopped.
    """

    deadman_required: bool = False
    estop_required: bool = False
    max_age_s: float = 0.2
    second_chunk_publisher: str = "warn"
    uniform_image: str = "warn"


SECOND_PUBLISHER = ("warn", "stop")
UNIFORM_IMAGE = ("warn", "hold")


FOLLOWERS = ("own", "ruckig")
"""What may propose joint accelerations towards the targets, before the limits: the executor's own law, or the optional library."""


@dataclass(frozen=True)
class Robot:
    """Everything about a robot that a policy, the executor and the simulation must agree on. follower: one of FOLLOWERS.

    standing_joints: URDF joints that nobody here moves (lift, head), and where they stand (m or rad). official: None where the vendor and
    the official checkpoints say nothing about it. real: how a driver of ros2_control is spoken to, None for a robot without one. bridge:
    how a bridge of ours drives it instead.
    """

    name: str
    description: str
    embodiment_tag: str
    embodiment_id: int
    urdf: str
    base_frame: str
    tick_hz: float
    arms: tuple[Arm, ...]
    cameras: tuple[Camera, ...]
    budgets: Budgets
    sim_command_topic: str
    joint_states_topic: str
    proximity: Proximity | None = None
    follower: str = "own"
    safety: Safety = Safety()
    standing_joints: Mapping[str, float] = field(default_factory=dict)
    official: Official | None = None
    real: RealRobot | None = None
    bridge: Bridge | None = None

    @property
    def drive(self) -> Drive | None:
        """How it is driven in reality; None for a robot that is only simulated."""
        return self.real or self.bridge

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Arm joints of all arms, in robot order (grippers apart)."""
        return tuple(joint for arm in self.arms for joint in arm.joints)

    @property
    def tick_period_ns(self) -> int:
        return round(1e9 / self.tick_hz)

    def arm(self, name: str) -> Arm:
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UserMistake(f"robot {self.name}: no arm '{name}', expected one of {', '.join(a.name for a in self.arms)}")

    def camera(self, name: str) -> Camera:
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise UserMistake(f"robot {self.name}: no camera '{name}', expected one of {', '.join(c.name for c in self.cameras)}")

    def joint_slice(self, arm_name: str) -> slice:
        """Where the joints of one arm lie in a vector of all joints."""
        start = 0
        for arm in self.arms:
            if arm.name == arm_name:
                return slice(start, start + len(arm.joints))
            start += len(arm.joints)
        raise UserMistake(f"robot {self.name}: no arm '{arm_name}'")
