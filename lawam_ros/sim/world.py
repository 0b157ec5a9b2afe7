"""The simulated robot and its table: physics, commands in, measured joints and world state out."""

from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import JointCommand
from lawam_ros.sim.cabinet import Cabinet, cabinet_contact_xml, cabinet_xml
from lawam_ros.sim.cube_and_pad import CubeAndPad, cube_xml
from lawam_ros.sim.layout import Ground
from lawam_ros.sim.robot_model import ArmParts, RobotModel
from lawam_ros.sim.robots import robot_model
from lawam_ros.sim.scenes import parameters_of
from lawam_ros.sim.simulated_robot import SimulatedRobot
from lawam_ros.sim.table_scene import CLOTH, RIGID, Furniture, table_scene_xml
from lawam_ros.sim.towel import Towel, pinch_xml, towel_xml
from lawam_ros.sim.variation import (
    CABINET_SUNK_M,
    DISTRACTORS,
    SIZE,
    START,
    START_NOISE_FACTOR,
    TOWEL_SCALE,
    Variation,
    distractors_xml,
    place_distractors,
    stream,
)
from lawam_ros.sim.world_parameters import CABINET, CUBE, TOWEL, WorldParameters, on_table
from lawam_ros.sim.world_state import Snapshot, WorldState

Array = NDArray[np.float64]


class World:
    """Physics of one scene. Not thread safe; a camera in another thread draws ``snapshot()`` with a ``CameraRig`` of its own."""

    def __init__(self, contract: Contract) -> None:
        """Builds the scene of ``contract.task.world`` and resets it with seed 0. Raises UserMistake for impossible parameters."""
        self.contract = contract
        self.parameters = parameters_of(contract)
        parts = robot_model(contract.robot)
        physics = CLOTH if TOWEL in self.parameters.objects else RIGID
        _check_period(contract, physics.step_s)
        self._step_s = physics.step_s
        furniture = _furniture(self.parameters, contract, parts)
        self.model = mujoco.MjModel.from_xml_string(table_scene_xml(contract, parts, physics, furniture))
        self._data = mujoco.MjData(self.model)
        self._robot = SimulatedRobot(self.model, contract.robot, parts)
        objects = self.parameters.objects
        pads = [pad for arm in parts.arms for pad in arm.finger_pads]
        self._cabinet = Cabinet(self.model, on_table(self.parameters.cabinet), pads) if CABINET in objects else None
        self._cube = CubeAndPad(self.model, on_table(self.parameters.cube), pads) if CUBE in objects else None
        self._towel = (
            Towel(self.model, on_table(self.parameters.towel), _by_arm(contract, parts), parts.table.z_m) if TOWEL in objects else None
        )
        self._variation = Variation(self.model, self.parameters.perturb)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """New episode: the same seed gives the same start pose, things and looks. Time starts at zero, the arms rest on their servos."""
        random, perturb, data = np.random.default_rng(seed), self.parameters.perturb, self._data
        self._look = self._variation.draw(seed)
        mujoco.mj_resetData(self.model, data)
        taken: list[Ground] = []
        if self._cabinet:
            sunk = stream(seed, SIZE).uniform(0.0, CABINET_SUNK_M) if SIZE in perturb else 0.0
            taken += self._cabinet.place(random, data, taken, sunk)
        if self._cube:
            taken += self._cube.place(random, data, taken)
        if self._towel:
            scale = float(stream(seed, SIZE).uniform(*TOWEL_SCALE)) if SIZE in perturb else 1.0
            taken += self._towel.place(random, data, taken, scale)
        if DISTRACTORS in perturb:
            place_distractors(stream(seed, DISTRACTORS), self.model, data, taken)
        arms = self.contract.robot.arms
        deviation = self.parameters.start_joint_noise_rad * (START_NOISE_FACTOR if START in perturb else 1.0)
        noise = random.normal(0.0, deviation, len(self.contract.robot.joint_names)) if deviation else 0.0
        lower, upper = (np.concatenate([getattr(arm.limits, bound) for arm in arms]) for bound in ("lower_rad", "upper_rad"))
        joints = np.clip(np.concatenate([arm.home_rad for arm in arms]) + noise, lower, upper)
        self.place_arms(joints, {arm.name: arm.gripper.opening_max_m for arm in arms})

    def place_arms(self, joints_rad: Array, openings_m: Mapping[str, float]) -> None:
        """Put the arms at rest at these joints without physics, as after a person moved them; things stay where they are."""
        self._robot.place(self._data, np.asarray(joints_rad, dtype=float), openings_m)
        mujoco.mj_forward(self.model, self._data)

    def apply(self, command: JointCommand) -> None:
        """Take a set-point. It is reached over the next tick period, so that the servos never see a step."""
        self._robot.apply(command)

    def step(self, duration_s: float) -> None:
        """Advance the physics by a multiple of its step (2 ms, with a towel 5 ms), at least one."""
        for _ in range(max(1, round(duration_s / self._step_s))):
            self._robot.before_step(self._data, self._step_s)
            if self._towel:
                self._towel.pinch(self._data, self._robot.wanted_openings_m(), self._robot.openings_m(self._data))
            mujoco.mj_step(self.model, self._data)

    @property
    def time_s(self) -> float:
        return float(self._data.time)

    def joint_positions(self) -> dict[str, float]:
        """URDF joint name -> position, rad for the arms; grippers and joints that stand still in the URDF's units."""
        return self._robot.positions(self._data)

    def joint_velocities(self) -> dict[str, float]:
        """URDF joint name -> velocity, rad/s for the arms."""
        return self._robot.velocities(self._data)

    def arm_positions_rad(self) -> Array:
        """Measured arm joints in robot order."""
        return self._robot.joints_rad(self._data)

    def openings_m(self) -> dict[str, float]:
        """Measured openings, by arm."""
        return self._robot.openings_m(self._data)

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
            hands=self._robot.hands(data),
            cube=self._cube.state(data) if self._cube else None,
            drawer=self._cabinet.state(data) if self._cabinet else None,
            towel=self._towel.state(data) if self._towel else None,
        )


def _check_period(contract: Contract, step_s: float) -> None:
    steps = contract.robot.tick_period_ns * 1e-9 / step_s
    if abs(steps - round(steps)) > 1e-6 or steps < 0.5:
        raise UserMistake(
            f"robot {contract.robot.name}.tick_hz: expected a period of whole physics steps of {step_s:g} s in this world, "
            f"got {contract.robot.tick_hz:g} Hz"
        )


def _by_arm(contract: Contract, parts: RobotModel) -> dict[str, ArmParts]:
    return {arm.name: one for arm, one in zip(contract.robot.arms, parts.arms, strict=True)}


def _furniture(parameters: WorldParameters, contract: Contract, parts: RobotModel) -> list[Furniture]:
    furniture: list[Furniture] = []
    if CUBE in parameters.objects:
        furniture.append(Furniture(cube_xml(on_table(parameters.cube))))
    if CABINET in parameters.objects:
        furniture.append(Furniture(cabinet_xml(on_table(parameters.cabinet)), contacts=cabinet_contact_xml()))
    if TOWEL in parameters.objects:
        towel = towel_xml(on_table(parameters.towel), parts.table.z_m)
        furniture.append(Furniture(towel, equalities=pinch_xml(_by_arm(contract, parts))))
    if DISTRACTORS in parameters.perturb:
        furniture.append(Furniture(distractors_xml()))
    return furniture
