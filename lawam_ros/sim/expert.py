"""Scripted expert: looks at the true world, speaks action chunks like a policy."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk, Pose
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.base_frames import BaseFrames
from lawam_ros.sim.expert_field import Mode, Motion, Plan, Plans
from lawam_ros.sim.scenes import parameters_of, scene_of
from lawam_ros.sim.world_state import WorldState

Array = NDArray[np.float64]

ESCAPED_DISTANCE_M = 0.04


class Expert:
    """Closed loop: every ``look`` compares the plans with the world and the commanded TCPs, and picks modes anew where they disagree.

    Plans are in the robot's base frame; commanded poses come and chunks go in the frames of the arms.
    """

    def __init__(self, contract: Contract) -> None:
        """The expert of the task's world. Raises UserMistake where the world cannot be."""
        robot = contract.robot
        self._arms = robot.arms
        self._policy = contract.task.policy
        self._contract = contract
        self._frames = BaseFrames(robot, (urdf_dir() / robot.urdf).read_text(encoding="utf-8"))
        self._field = scene_of(contract).expert_field(robot, parameters_of(contract))
        self._step_s = 1.0 / self._policy.action_hz
        self._plans: Plans = {}
        self._motion: Motion | None = None
        self._time_s = 0.0

    def reset(self) -> None:
        """Forget the plans; the next look starts from the commanded TCPs and whatever the world looks like."""
        self._plans = {}

    @property
    def modes(self) -> dict[str, Mode]:
        """What each hand is about to do; empty before the first look."""
        return {name: plan.mode for name, plan in self._plans.items()}

    def look(self, state: WorldState, commanded: Mapping[str, Pose]) -> None:
        """Take in the world at ``state.time_s`` and the TCP poses commanded at that time; call it at steps of the action rate or slower."""
        motion = self._motion = self._field.motion(state)
        plans = self._plans
        for _ in range(round((state.time_s - self._time_s) / self._step_s) if plans else 0):
            plans = motion(plans, self._step_s)
        self._time_s = state.time_s
        modes = self._field.modes_of(state)
        in_base = {arm.name: self._frames.to_base(arm.name, commanded[arm.name]) for arm in self._arms}
        plans = {name: _compared(plans.get(name), pose, modes[name], state.hands[name].gripper_m) for name, pose in in_base.items()}
        if self._field.contradicts(plans, state):
            plans = {name: replace(plan, mode=modes[name], mode_s=0.0) for name, plan in plans.items()}
        self._plans = plans

    def chunk(self, stamp_ns: int, sequence: int, epoch: int) -> ActionChunk:
        """The plans rolled out over the horizon: absolute TCP targets and gripper openings from the last look on."""
        if not self._plans or self._motion is None:
            raise RuntimeError("look() must come before chunk()")
        offset = self._policy.action_offset_steps
        plans, rows = self._plans, []
        for step in range(offset + self._policy.steps):
            if step >= offset:
                rows.append(self._row(plans))
            plans = self._motion(plans, self._step_s)
        return ActionChunk(
            stamp_ns=stamp_ns,
            frame_id=self._contract.robot.base_frame,
            components=tuple(f"{arm.name}/{component}" for arm in self._arms for component in CARTESIAN_COMPONENTS),
            values=np.array(rows),
            time_from_start_s=(np.arange(len(rows), dtype=float) + offset) * self._step_s,
            sequence=sequence,
            epoch=epoch,
            contract_crc=self._contract.crc,
        )

    def finished(self, state: WorldState) -> bool:
        """Whether the task is done and the hands away."""
        return bool(self._plans) and self._field.finished(self._plans, state)

    def kept_clear(self, positions_m: Mapping[str, Array], state: WorldState) -> Mapping[str, Array]:
        """The nearest places of the TCPs, in the frames of the arms, where the hands can be without hitting anything of the scene's."""
        in_base = {name: self._frames.points_to_base(name, position) for name, position in positions_m.items()}
        return {name: self._frames.points_to_arm(name, point) for name, point in self._field.kept_clear(in_base, state).items()}

    def _row(self, plans: Plans) -> list[float]:
        row: list[float] = []
        for arm in self._arms:
            plan = plans[arm.name]
            pose = self._frames.to_arm(arm.name, Pose(plan.position_m, plan.quat_xyzw))
            row += [*pose.position_m, *pose.quat_xyzw, 0.0 if plan.closing else arm.gripper.opening_max_m]
        return row


def _compared(plan: Plan | None, commanded: Pose, mode: Mode, gripper_m: float) -> Plan:
    """The plan with the measured opening; a fresh one where there is none or the hand is elsewhere."""
    if plan is not None and np.linalg.norm(plan.position_m - commanded.position_m) <= ESCAPED_DISTANCE_M:
        return replace(plan, gripper_m=gripper_m)
    return Plan(
        mode=mode,
        mode_s=0.0,
        position_m=commanded.position_m,
        velocity_m_s=np.zeros(3),
        quat_xyzw=commanded.quat_xyzw,
        angular_velocity_rad_s=np.zeros(3),
        gripper_m=gripper_m,
    )
