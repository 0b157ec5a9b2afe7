"""The robot in a compiled model: joints and grippers on position servos, driven by set-points, measured."""

from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import JointCommand, Pose
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.rotations import quat_from_matrix
from lawam_ros.sim.robot_model import RobotModel
from lawam_ros.sim.world_state import HandState

Array = NDArray[np.float64]


class SimulatedRobot:
    """All arms of a robot. Joint vectors follow the robot file; a gripper's position is that of its joints, rad or m."""

    def __init__(self, model: mujoco.MjModel, robot: Robot, parts: RobotModel) -> None:
        self._model, self._robot = model, robot
        self._names = (*robot.joint_names, *(name for arm in robot.arms for name in arm.gripper.joints))
        ids = [model.joint(name).id for name in self._names]
        self._qpos_at, self._qvel_at = model.jnt_qposadr[ids], model.jnt_dofadr[ids]
        self._count = len(robot.joint_names)
        self._servos = np.array([model.actuator(name).id for arm in parts.arms for name in arm.servos])
        self._gripper_servos = np.array([model.actuator(arm.gripper_servo).id for arm in parts.arms])
        # The lag a servo would have without velocity feed-forward: damping gain over position gain.
        self._lag_s = -model.actuator_biasprm[self._servos, 2] / model.actuator_gainprm[self._servos, 0]
        self._tcp_sites = [model.site(arm.tcp_site).id for arm in parts.arms]
        self._gripper_at = _gripper_slices(robot, self._count)
        self._gripper_qpos_at = [self._qpos_at[at].tolist() for at in self._gripper_at]
        self._couplings = [
            (int(model.jnt_qposadr[model.eq_obj1id[i]]), int(model.jnt_qposadr[model.eq_obj2id[i]]), model.eq_data[i, :5].copy())
            for i in range(model.neq)
            if model.eq_type[i] == mujoco.mjtEq.mjEQ_JOINT
        ]

    def place(self, data: mujoco.MjData, joints_rad: Array, openings_m: Mapping[str, float]) -> None:
        """Stand at rest at these joints and openings, without physics."""
        grippers = self._gripper_positions(openings_m)
        data.qpos[self._qpos_at[: self._count]] = joints_rad
        for at, position in zip(self._gripper_at, grippers, strict=True):
            data.qpos[self._qpos_at[at]] = position
        for follower, leader, polynomial in self._couplings:
            data.qpos[follower] = np.polynomial.polynomial.polyval(data.qpos[leader], polynomial)
        data.qvel[self._qvel_at] = 0.0
        self._from = self._to = np.concatenate([joints_rad, grippers])
        self._from_velocity = self._to_velocity = np.zeros(self._count)
        self._blend_s = 0.0
        self._drive(data, self._from, self._from_velocity)

    def apply(self, command: JointCommand) -> None:
        """Take a set-point. It is reached over the next tick period, so that the servos never see a step."""
        self._from, self._from_velocity = self._target()
        self._to = np.concatenate([command.positions_rad, self._gripper_positions(command.gripper_m)])
        self._to_velocity = np.asarray(command.velocities_rad_s, dtype=float)
        self._blend_s = 0.0

    def before_step(self, data: mujoco.MjData, step_s: float) -> None:
        """Move the servos' targets on by one physics step."""
        self._blend_s += step_s
        self._drive(data, *self._target())

    def wanted_openings_m(self) -> dict[str, float]:
        """Openings of the newest set-point, by arm."""
        wanted = self._to[self._count :]
        return {arm.name: float(arm.gripper.opening_per_joint * one) for arm, one in zip(self._robot.arms, wanted, strict=True)}

    def positions(self, data: mujoco.MjData) -> dict[str, float]:
        """URDF joint name -> position, rad or m; joints that stand still included."""
        return dict(zip(self._names, data.qpos[self._qpos_at].tolist(), strict=True)) | dict(self._robot.standing_joints)

    def velocities(self, data: mujoco.MjData) -> dict[str, float]:
        """URDF joint name -> velocity, rad/s or m/s."""
        return dict(zip(self._names, data.qvel[self._qvel_at].tolist(), strict=True)) | dict.fromkeys(self._robot.standing_joints, 0.0)

    def joints_rad(self, data: mujoco.MjData) -> Array:
        """Measured arm joints in robot order."""
        return np.array(data.qpos[self._qpos_at[: self._count]])

    def openings_m(self, data: mujoco.MjData) -> dict[str, float]:
        """Measured openings, by arm."""
        return {
            arm.name: arm.gripper.opening_per_joint * sum(data.qpos[i].item() for i in joints) / len(joints)
            for arm, joints in zip(self._robot.arms, self._gripper_qpos_at, strict=True)
        }

    def hands(self, data: mujoco.MjData) -> dict[str, HandState]:
        """After kinematics were worked out."""
        openings = self.openings_m(data)
        return {
            arm.name: HandState(Pose(data.site_xpos[i].copy(), quat_from_matrix(data.site_xmat[i].reshape(3, 3))), openings[arm.name])
            for arm, i in zip(self._robot.arms, self._tcp_sites, strict=True)
        }

    def _gripper_positions(self, openings_m: Mapping[str, float]) -> Array:
        return np.array(
            [np.clip(openings_m[arm.name], 0.0, arm.gripper.opening_max_m) / arm.gripper.opening_per_joint for arm in self._robot.arms]
        )

    def _target(self) -> tuple[Array, Array]:
        """Servo targets now: blended over one tick period; without a new command the velocity fades out over the next one."""
        period = 1.0 / self._robot.tick_hz
        fraction = min(self._blend_s / period, 1.0)
        fade = min(max(2.0 - self._blend_s / period, 0.0), 1.0)
        position = self._from + fraction * (self._to - self._from)
        velocity = (self._from_velocity + fraction * (self._to_velocity - self._from_velocity)) * fade
        return position, velocity

    def _drive(self, data: mujoco.MjData, position: Array, velocity: Array) -> None:
        # A servo's damping acts on the joint velocity; adding the commanded velocity makes it act on the difference.
        data.ctrl[self._servos] = position[: self._count] + self._lag_s * velocity
        data.ctrl[self._gripper_servos] = position[self._count :]


def _gripper_slices(robot: Robot, start: int) -> list[slice]:
    """Where each arm's gripper joints lie among all joints."""
    slices = []
    for arm in robot.arms:
        slices.append(slice(start, start + len(arm.gripper.joints)))
        start += len(arm.gripper.joints)
    return slices
