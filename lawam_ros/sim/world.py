"""The simulated robot and its table: physics, commands in, measured joints and world state out."""

import mujoco
import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import JointCommand, Pose
from lawam_ros.contract.rotations import quat_from_matrix
from lawam_ros.sim.cabinet import Cabinet, cabinet_contact_xml, cabinet_xml
from lawam_ros.sim.cube_and_pad import CubeAndPad, cube_xml
from lawam_ros.sim.layout import Ground
from lawam_ros.sim.panda_mjcf import ARM_JOINTS, FINGER_JOINTS, FINGER_TRAVEL_M, GRIPPER_ACTUATOR, SERVO_TIME_CONSTANT_S
from lawam_ros.sim.scenes import parameters_of
from lawam_ros.sim.table_scene import PHYSICS_STEP_S, table_scene_xml
from lawam_ros.sim.variation import (
    CABINET_SUNK_M,
    DISTRACTORS,
    SIZE,
    START,
    START_NOISE_FACTOR,
    Variation,
    distractors_xml,
    place_distractors,
    stream,
)
from lawam_ros.sim.world_parameters import CABINET, CUBE, WorldParameters
from lawam_ros.sim.world_state import Snapshot, WorldState

Array = NDArray[np.float64]


class World:
    """Physics of one scene. Not thread safe; a camera in another thread draws ``snapshot()`` with a ``CameraRig`` of its own."""

    def __init__(self, contract: Contract) -> None:
        """Builds the scene of ``contract.task.world`` and resets it with seed 0. Raises UserMistake for impossible parameters."""
        self.contract = contract
        self.parameters = parameters_of(contract)
        self.model = mujoco.MjModel.from_xml_string(_model_xml(contract, self.parameters))
        self._data = mujoco.MjData(self.model)
        self._arm = contract.robot.arms[0]
        joint_ids = [self.model.joint(name).id for name in (*self._arm.joints, *FINGER_JOINTS)]
        self._qpos_at = self.model.jnt_qposadr[joint_ids]
        self._qvel_at = self.model.jnt_dofadr[joint_ids]
        self._names = (*self._arm.joints, *FINGER_JOINTS)
        self._servos = np.array([self.model.actuator(joint.name).id for joint in ARM_JOINTS])
        self._gripper_servo = self.model.actuator(GRIPPER_ACTUATOR).id
        self._tcp_site = self.model.site("tcp").id
        objects = self.parameters.objects
        self._cabinet = Cabinet(self.model, self.parameters.cabinet) if CABINET in objects else None
        self._cube = CubeAndPad(self.model, self.parameters.cube) if CUBE in objects else None
        self._variation = Variation(self.model, self.parameters.perturb)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """New episode: the same seed gives the same start pose, things and looks. Time starts at zero, the arm rests on its servos."""
        random, perturb, data = np.random.default_rng(seed), self.parameters.perturb, self._data
        self._look = self._variation.draw(seed)
        mujoco.mj_resetData(self.model, data)
        taken: list[Ground] = []
        if self._cabinet:
            sunk = stream(seed, SIZE).uniform(0.0, CABINET_SUNK_M) if SIZE in perturb else 0.0
            taken += self._cabinet.place(random, data, taken, sunk)
        if self._cube:
            taken += self._cube.place(random, data, taken)
        if DISTRACTORS in perturb:
            place_distractors(stream(seed, DISTRACTORS), self.model, data, taken)
        deviation = self.parameters.start_joint_noise_rad * (START_NOISE_FACTOR if START in perturb else 1.0)
        noise = random.normal(0.0, deviation, len(self._arm.joints)) if deviation else 0.0
        limits = self._arm.limits
        joints = np.clip(self._arm.home_rad + noise, limits.lower_rad, limits.upper_rad)
        data.qpos[self._qpos_at[:-2]] = joints
        data.qpos[self._qpos_at[-2:]] = FINGER_TRAVEL_M
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
        return Snapshot(self.time_s, data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy(), self._look)

    def state(self) -> WorldState:
        """Privileged state after the last step."""
        data = self._data
        # mj_step leaves poses of the previous position; one kinematics pass makes them agree with qpos.
        mujoco.mj_kinematics(self.model, data)
        return WorldState(
            time_s=self.time_s,
            tcp=Pose(data.site_xpos[self._tcp_site].copy(), quat_from_matrix(data.site_xmat[self._tcp_site].reshape(3, 3))),
            gripper_m=self.gripper_m(),
            cube=self._cube.state(data) if self._cube else None,
            drawer=self._cabinet.state(data) if self._cabinet else None,
        )


def _model_xml(contract: Contract, parameters: WorldParameters) -> str:
    bodies: list[str] = []
    contacts: list[str] = []
    if CUBE in parameters.objects:
        bodies.append(cube_xml(parameters.cube))
    if CABINET in parameters.objects:
        bodies.append(cabinet_xml(parameters.cabinet))
        contacts.append(cabinet_contact_xml())
    if DISTRACTORS in parameters.perturb:
        bodies.append(distractors_xml())
    return table_scene_xml(contract, bodies, contacts)
