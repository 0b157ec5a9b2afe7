"""Scripted expert: looks at the true world, speaks action chunks like a policy."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import ActionChunk, Pose
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.sim.expert_field import Mode, Motion, Plan
from lawam_ros.sim.scenes import parameters_of, scene_of
from lawam_ros.sim.world_state import WorldState

Array = NDArray[np.float64]

ESCAPED_DISTANCE_M = 0.04


class Expert:
    """Closed loop: every ``look`` compares the plan with the world and the commanded TCP, and picks the mode anew where they disagree."""

    def __init__(self, contract: Contract) -> None:
        """The expert of the task's world. Raises UserMistake where the world cannot be."""
        self._arm = contract.robot.arms[0]
        self._policy = contract.task.policy
        self._contract = contract
        self._field = scene_of(contract).expert_field(self._arm, parameters_of(contract))
        self._step_s = 1.0 / self._policy.action_hz
        self._plan: Plan | None = None
        self._motion: Motion | None = None
        self._time_s = 0.0

    def reset(self) -> None:
        """Forget the plan; the next look starts from the commanded TCP and whatever the world looks like."""
        self._plan = None

    @property
    def mode(self) -> Mode | None:
        return self._plan.mode if self._plan else None

    def look(self, state: WorldState, commanded_tcp: Pose) -> None:
        """Take in the world at ``state.time_s`` and the TCP pose commanded at that time; call it at steps of the action rate or slower."""
        motion = self._motion = self._field.motion(state)
        plan = self._plan
        if plan is None:
            plan = self._fresh_plan(state, commanded_tcp)
        for _ in range(round((state.time_s - self._time_s) / self._step_s) if self._plan else 0):
            plan = motion(plan, self._step_s)
        self._time_s = state.time_s
        plan = replace(plan, gripper_m=state.gripper_m)
        if np.linalg.norm(plan.position_m - commanded_tcp.position_m) > ESCAPED_DISTANCE_M:
            plan = self._fresh_plan(state, commanded_tcp)
        if self._field.contradicts(plan, state):
            plan = replace(plan, mode=self._field.mode_of(state), mode_s=0.0)
        self._plan = plan

    def chunk(self, stamp_ns: int, sequence: int, epoch: int) -> ActionChunk:
        """The plan rolled out over the horizon: absolute TCP targets and gripper openings from the last look on."""
        if self._plan is None or self._motion is None:
            raise RuntimeError("look() must come before chunk()")
        offset = self._policy.action_offset_steps
        plan, rows = self._plan, []
        for step in range(offset + self._policy.steps):
            if step >= offset:
                rows.append([*plan.position_m, *plan.quat_xyzw, 0.0 if plan.closing else self._arm.gripper.opening_max_m])
            plan = self._motion(plan, self._step_s)
        return ActionChunk(
            stamp_ns=stamp_ns,
            frame_id=self._contract.robot.base_frame,
            components=tuple(f"{self._arm.name}/{component}" for component in CARTESIAN_COMPONENTS),
            values=np.array(rows),
            time_from_start_s=(np.arange(len(rows), dtype=float) + offset) * self._step_s,
            sequence=sequence,
            epoch=epoch,
            contract_crc=self._contract.crc,
        )

    def finished(self, state: WorldState) -> bool:
        """Whether the task is done and the hand away."""
        return self._plan is not None and self._field.finished(self._plan.mode, state)

    def kept_clear(self, position_m: Array, state: WorldState) -> Array:
        """The nearest place of the TCP where the hand can be without hitting anything of the scene's."""
        return self._field.kept_clear(position_m, state)

    def _fresh_plan(self, state: WorldState, commanded_tcp: Pose) -> Plan:
        return Plan(
            mode=self._field.mode_of(state),
            mode_s=0.0,
            position_m=commanded_tcp.position_m,
            velocity_m_s=np.zeros(3),
            quat_xyzw=commanded_tcp.quat_xyzw,
            angular_velocity_rad_s=np.zeros(3),
            gripper_m=state.gripper_m,
        )
