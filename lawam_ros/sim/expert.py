"""Scripted pick-and-place expert: looks at the true world, speaks action chunks like a policy."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import ActionChunk, Pose
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.sim.expert_field import RETREAT_HEIGHT_M, Mode, Plan, Scene, advance, cube_yaw_rad
from lawam_ros.sim.pick_place_scene import pick_place_parameters
from lawam_ros.sim.world import WorldState

Array = NDArray[np.float64]

LOST_DISTANCE_M = 0.035
ESCAPED_DISTANCE_M = 0.04
RETREATED_TOLERANCE_M = 0.02
_CARRY_GRACE_S = 0.3


class PickPlaceExpert:
    """Closed loop: every ``look`` compares the plan with the world and the commanded TCP, and picks the mode anew where they disagree."""

    def __init__(self, contract: Contract) -> None:
        parameters = pick_place_parameters(contract)
        self._arm = contract.robot.arms[0]
        self._policy = contract.task.policy
        self._contract = contract
        self._cube_size_m = parameters.cube_size_m
        self._radius_m = parameters.success_radius_m
        self._step_s = 1.0 / self._policy.action_hz
        self._plan: Plan | None = None
        self._scene: Scene | None = None
        self._time_s = 0.0

    def reset(self) -> None:
        """Forget the plan; the next look starts from the commanded TCP and whatever the world looks like."""
        self._plan = None

    @property
    def mode(self) -> Mode | None:
        return self._plan.mode if self._plan else None

    def look(self, state: WorldState, commanded_tcp: Pose) -> None:
        """Take in the world at ``state.time_s`` and the TCP pose commanded at that time; call it at steps of the action rate or slower."""
        self._scene = self._scene_of(state)
        plan = self._plan
        if plan is None:
            plan = self._fresh_plan(state, commanded_tcp)
        for _ in range(round((state.time_s - self._time_s) / self._step_s) if self._plan else 0):
            plan = advance(plan, self._scene, self._step_s)
        self._time_s = state.time_s
        plan = replace(plan, gripper_m=state.gripper_m)
        if np.linalg.norm(plan.position_m - commanded_tcp.position_m) > ESCAPED_DISTANCE_M:
            plan = self._fresh_plan(state, commanded_tcp)
        if self._contradicts(plan, state):
            plan = replace(plan, mode=self._mode_of(state), mode_s=0.0)
        self._plan = plan

    def chunk(self, stamp_ns: int, sequence: int, epoch: int) -> ActionChunk:
        """The plan rolled out over the horizon: absolute TCP targets and gripper openings from the last look on."""
        if self._plan is None or self._scene is None:
            raise RuntimeError("look() must come before chunk()")
        offset = self._policy.action_offset_steps
        plan, rows = self._plan, []
        for step in range(offset + self._policy.steps):
            if step >= offset:
                rows.append([*plan.position_m, *plan.quat_xyzw, 0.0 if plan.closing else self._arm.gripper.opening_max_m])
            plan = advance(plan, self._scene, self._step_s)
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
        """Cube on the pad, hand up and away."""
        height = self._cube_size_m / 2 + RETREAT_HEIGHT_M - RETREATED_TOLERANCE_M
        return self._at_goal(state) and state.tcp.position_m[2] >= height and self.mode is Mode.RETREAT

    def _scene_of(self, state: WorldState) -> Scene:
        held = self._holds(state)
        offset = state.tcp.position_m - state.cube.position_m if held else np.zeros(3)
        return Scene(
            cube_position_m=state.cube.position_m,
            cube_yaw_rad=cube_yaw_rad(state.cube.quat_xyzw),
            pad_position_m=state.pad_position_m,
            held_offset_m=offset,
            cube_size_m=self._cube_size_m,
            opening_max_m=self._arm.gripper.opening_max_m,
            gripper_velocity_m_s=self._arm.gripper.velocity_m_s,
        )

    def _fresh_plan(self, state: WorldState, commanded_tcp: Pose) -> Plan:
        return Plan(
            mode=self._mode_of(state),
            mode_s=0.0,
            position_m=commanded_tcp.position_m,
            velocity_m_s=np.zeros(3),
            quat_xyzw=commanded_tcp.quat_xyzw,
            angular_velocity_rad_s=np.zeros(3),
            gripper_m=state.gripper_m,
        )

    def _mode_of(self, state: WorldState) -> Mode:
        if self._holds(state):
            return Mode.CARRY
        return Mode.RETREAT if self._at_goal(state) else Mode.APPROACH

    def _contradicts(self, plan: Plan, state: WorldState) -> bool:
        if plan.mode is Mode.CARRY:
            return plan.mode_s > _CARRY_GRACE_S and not self._holds(state)
        if plan.mode is Mode.RETREAT:
            return not self._at_goal(state) and plan.mode_s > _CARRY_GRACE_S
        return plan.mode is Mode.APPROACH and self._at_goal(state)

    def _holds(self, state: WorldState) -> bool:
        near = float(np.linalg.norm(state.tcp.position_m - state.cube.position_m)) < LOST_DISTANCE_M
        return near and state.fingers_touching == 2 and state.gripper_m < self._cube_size_m * 1.5

    def _at_goal(self, state: WorldState) -> bool:
        error = float(np.linalg.norm(state.cube.position_m[:2] - state.pad_position_m[:2]))
        on_table = state.cube.position_m[2] < self._cube_size_m / 2 + 0.01
        return error < 0.8 * self._radius_m and bool(on_table) and state.fingers_touching == 0
