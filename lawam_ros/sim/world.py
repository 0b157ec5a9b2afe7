"""The simulated robot and its table: physics, commands in, measured joints and world state out."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import JointCommand, Pose
from lawam_ros.contract.rotations import quat_from_matrix
from lawam_ros.sim.panda_mjcf import ARM_JOINTS, FINGER_JOINTS, FINGER_TRAVEL_M, GRIPPER_ACTUATOR, SERVO_TIME_CONSTANT_S
from lawam_ros.sim.pick_place_scene import PHYSICS_STEP_S, PickPlaceParameters, pick_place_parameters, pick_place_scene_xml

Array = NDArray[np.float64]

_MAX_LAYOUT_TRIES = 10_000


@dataclass(frozen=True)
class Snapshot:
    """Everything a camera needs to draw the world at ``time_s``; safe to hand to another thread."""

    time_s: float
    qpos: Array
    mocap_position_m: Array
    mocap_quat_wxyz: Array


@dataclass(frozen=True)
class WorldState:
    """Privileged state, frame: the arm's base. Quaternions xyzw; ``fingers_touching`` counts fingers (0 to 2) in contact with the cube."""

    time_s: float
    cube: Pose
    cube_speed_m_s: float
    pad_position_m: Array
    tcp: Pose
    gripper_m: float
    fingers_touching: int


class World:
    """Physics of one scene. Not thread safe; a camera in another thread draws ``snapshot()`` with a ``CameraRig`` of its own."""

    def __init__(self, contract: Contract) -> None:
        """Builds the scene of ``contract.task.world`` and resets it with seed 0. Raises UserMistake for impossible parameters."""
        self.contract = contract
        self.parameters: PickPlaceParameters = pick_place_parameters(contract)
        self.model = mujoco.MjModel.from_xml_string(pick_place_scene_xml(contract, self.parameters))
        self._data = mujoco.MjData(self.model)
        self._arm = contract.robot.arms[0]
        joint_ids = [self.model.joint(name).id for name in (*self._arm.joints, *FINGER_JOINTS)]
        self._qpos_at = self.model.jnt_qposadr[joint_ids]
        self._qvel_at = self.model.jnt_dofadr[joint_ids]
        self._names = (*self._arm.joints, *FINGER_JOINTS)
        self._servos = np.array([self.model.actuator(joint.name).id for joint in ARM_JOINTS])
        self._gripper_servo = self.model.actuator(GRIPPER_ACTUATOR).id
        self._cube_qpos_at = int(self.model.joint("cube").qposadr[0])
        self._cube_qvel_at = int(self.model.joint("cube").dofadr[0])
        self._tcp_site = self.model.site("tcp").id
        self._cube_geom = self.model.geom("cube").id
        self._pads = [self.model.geom(f"{body}_pad").id for body in ("panda_leftfinger", "panda_rightfinger")]
        self.reset(0)

    def reset(self, seed: int) -> None:
        """New episode: the same seed gives the same start pose, cube and pad. Time starts at zero, the arm rests on its servos."""
        random = np.random.default_rng(seed)
        parameters, data = self.parameters, self._data
        mujoco.mj_resetData(self.model, data)
        cube_xy, pad_xy = _layout(random, parameters)
        yaw = random.uniform(-parameters.cube_yaw_rad, parameters.cube_yaw_rad)
        noise = random.normal(0.0, parameters.start_joint_noise_rad, len(self._arm.joints)) if parameters.start_joint_noise_rad else 0.0
        limits = self._arm.limits
        joints = np.clip(self._arm.home_rad + noise, limits.lower_rad, limits.upper_rad)
        data.qpos[self._qpos_at[:-2]] = joints
        data.qpos[self._qpos_at[-2:]] = FINGER_TRAVEL_M
        cube = data.qpos[self._cube_qpos_at : self._cube_qpos_at + 7]
        cube[:] = [*cube_xy, parameters.cube_size_m / 2, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        data.mocap_pos[0] = [*pad_xy, 0.0]
        self._set_targets(joints, np.zeros_like(joints), FINGER_TRAVEL_M)
        mujoco.mj_forward(self.model, data)

    def _set_targets(self, joints_rad: Array, velocities_rad_s: Array, finger_m: float) -> None:
        self._from = self._to = np.array([*joints_rad, finger_m])
        self._to_velocity = self._from_velocity = np.asarray(velocities_rad_s, dtype=float)
        self._blend_s = 0.0
        self._data.ctrl[self._servos] = self._from[:-1] + SERVO_TIME_CONSTANT_S * self._to_velocity
        self._data.ctrl[self._gripper_servo] = finger_m

    def place_arm(self, joints_rad: Array, gripper_m: float) -> None:
        """Put the arm at rest at these joints without physics, as after a person moved it; the cube stays where it is."""
        self._data.qpos[self._qpos_at[:-2]] = joints_rad
        self._data.qpos[self._qpos_at[-2:]] = np.clip(gripper_m / 2, 0.0, FINGER_TRAVEL_M)
        self._data.qvel[self._qvel_at] = 0.0
        self._set_targets(
            np.asarray(joints_rad, dtype=float), np.zeros(len(joints_rad)), float(np.clip(gripper_m / 2, 0.0, FINGER_TRAVEL_M))
        )
        mujoco.mj_forward(self.model, self._data)

    def apply(self, command: JointCommand) -> None:
        """Take a set-point. It is reached over the next tick period, so that the servos never see a step."""
        self._from, self._from_velocity = self._target()
        opening = command.gripper_m[self._arm.name]
        finger = float(np.clip(opening / self._arm.gripper.opening_per_joint, 0.0, FINGER_TRAVEL_M))
        self._to = np.array([*command.positions_rad, finger])
        self._to_velocity = np.asarray(command.velocities_rad_s, dtype=float)
        self._blend_s = 0.0

    def _target(self) -> tuple[Array, Array]:
        """Servo targets now: blended over one tick period; without a new command the velocity fades out over the next one."""
        period = 1.0 / self.contract.robot.tick_hz
        fraction = min(self._blend_s / period, 1.0)
        fade = min(max(2.0 - self._blend_s / period, 0.0), 1.0)
        position = self._from + fraction * (self._to - self._from)
        velocity = (self._from_velocity + fraction * (self._to_velocity - self._from_velocity)) * fade
        return position, velocity

    def step(self, duration_s: float) -> None:
        """Advance the physics by a multiple of the physics step (2 ms), at least one."""
        for _ in range(max(1, round(duration_s / PHYSICS_STEP_S))):
            self._blend_s += PHYSICS_STEP_S
            position, velocity = self._target()
            # The servo's damping acts on the joint velocity; adding the commanded velocity makes it act on the difference.
            self._data.ctrl[self._servos] = position[:-1] + SERVO_TIME_CONSTANT_S * velocity
            self._data.ctrl[self._gripper_servo] = position[-1]
            mujoco.mj_step(self.model, self._data)

    @property
    def time_s(self) -> float:
        return float(self._data.time)

    def joint_positions(self) -> dict[str, float]:
        """URDF joint name -> position, rad for the arm, m per finger."""
        return dict(zip(self._names, self._data.qpos[self._qpos_at].tolist(), strict=True))

    def joint_velocities(self) -> dict[str, float]:
        """URDF joint name -> velocity, rad/s for the arm, m/s per finger."""
        return dict(zip(self._names, self._data.qvel[self._qvel_at].tolist(), strict=True))

    def arm_positions_rad(self) -> Array:
        """Measured arm joints in robot order."""
        return np.array(self._data.qpos[self._qpos_at[:-2]])

    def gripper_m(self) -> float:
        """Measured opening."""
        return float(self._data.qpos[self._qpos_at[-2:]].sum())

    def snapshot(self) -> Snapshot:
        data = self._data
        return Snapshot(self.time_s, data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy())

    def state(self) -> WorldState:
        """Privileged state after the last step."""
        data, at = self._data, self._cube_qpos_at
        # mj_step leaves poses of the previous position; one kinematics pass makes them agree with qpos.
        mujoco.mj_kinematics(self.model, data)
        quat_wxyz = data.qpos[at + 3 : at + 7]
        return WorldState(
            time_s=self.time_s,
            cube=Pose(data.qpos[at : at + 3].copy(), np.array([*quat_wxyz[1:], quat_wxyz[0]])),
            cube_speed_m_s=float(np.linalg.norm(data.qvel[self._cube_qvel_at : self._cube_qvel_at + 3])),
            pad_position_m=data.mocap_pos[0].copy(),
            tcp=Pose(data.site_xpos[self._tcp_site].copy(), quat_from_matrix(data.site_xmat[self._tcp_site].reshape(3, 3))),
            gripper_m=self.gripper_m(),
            fingers_touching=self._fingers_touching(),
        )

    def _fingers_touching(self) -> int:
        pairs = self._data.contact.geom
        touching = 0
        for pad in self._pads:
            touching += bool(np.any(np.all((pairs == (self._cube_geom, pad)) | (pairs == (pad, self._cube_geom)), axis=-1)))
        return touching


def _layout(random: np.random.Generator, parameters: PickPlaceParameters) -> tuple[Array, Array]:
    """Cube and pad centres (x, y), m: uniform over the area, at least the minimum distance apart."""
    lower, upper = np.array(parameters.area_lower_m), np.array(parameters.area_upper_m)
    for _ in range(_MAX_LAYOUT_TRIES):
        cube, pad = random.uniform(lower, upper), random.uniform(lower, upper)
        if np.linalg.norm(cube - pad) >= parameters.min_distance_m:
            return cube, pad
    raise ValueError(f"no layout with cube and pad {parameters.min_distance_m} m apart found in the area {lower} to {upper}")
