"""Folding a towel with two hands: what the scripted expert wants to do from any situation.

Each hand comes down on its far corner, waits until both hold, and carries the corner on a circle about the middle of the edge, so that the
cloth stays nearly taut, to the near corner; there both let go and rise. A hand that is ahead of the other goes slower. The hands slope: the
farther from the shoulder, the flatter, because neither a steep hand far away nor a flat one near by leaves the arm room.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import Pose
from lawam_ros.contract.robot import Gripper, Robot
from lawam_ros.contract.rotations import quat_from_rpy
from lawam_ros.control.base_frames import BaseFrames
from lawam_ros.sim import expert_field as field
from lawam_ros.sim.expert_field import Mode, Motion, Plan, Plans
from lawam_ros.sim.towel import CORNERS, PINCH_OPENING_M, TowelState
from lawam_ros.sim.world_parameters import WorldParameters, on_table
from lawam_ros.sim.world_state import WorldState

Array = NDArray[np.float64]

HOVER_M = 0.08
GRASP_HEIGHT_M = 0.018
RELEASE_HEIGHT_M = 0.022
RETREAT_HEIGHT_M = 0.12
INSIDE_SHARE = 0.05
CARRY_SPEED_M_S = 0.22
FOLDED_SHARE = 0.8
RELEASE_OPENING_M = 0.03
_RETREATED_TOLERANCE_M = 0.02
_AHEAD_RAD = 0.45
_SLOWEST_SHARE = 0.2
_WAIT_RAD = 0.15
_CARRY_GRACE_S = 0.3
_STEEP_RAD, _FLAT_RAD = math.radians(75.0), math.radians(45.0)
_STEEP_AT_M, _FLAT_AT_M = 0.22, 0.58
_EASY_LOW_M, _EASY_HIGH_M = np.array([0.22, -0.40, 0.01]), np.array([0.50, 0.40, 0.22])
_HANDS_APART_M = 0.16
_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class HandGoal:
    """Where one hand grasps and lets go (m, base frame), and its shoulder. edge_m: length of the edge it folds."""

    grasp_m: Array
    release_m: Array
    shoulder_m: Array
    edge_m: float
    gripper: Gripper


class TowelField:
    """The far edge is folded onto the near one: left hand, right hand."""

    def __init__(self, robot: Robot, parameters: WorldParameters) -> None:
        frames = BaseFrames(robot, (urdf_dir() / robot.urdf).read_text(encoding="utf-8"))
        left, right = robot.arms
        self._left, self._right = left.name, right.name
        self._grippers = {arm.name: arm.gripper for arm in robot.arms}
        self._shoulders = {arm.name: frames.origin_m(arm.name) for arm in robot.arms}
        self._parameters = on_table(parameters.towel)

    def motion(self, state: WorldState) -> Motion:
        goals = self._goals(_towel(state))
        return lambda plans, step_s: advance(plans, goals, step_s)

    def modes_of(self, state: WorldState) -> Mapping[str, Mode]:
        towel = _towel(state)
        if all(vertex is not None for vertex in towel.held.values()):
            return dict.fromkeys(towel.held, Mode.CARRY)
        if self._folded(towel):
            return {name: Mode.OPEN if state.hands[name].gripper_m < RELEASE_OPENING_M else Mode.RETREAT for name in towel.held}
        return {name: Mode.APPROACH if vertex is None else Mode.CLOSE for name, vertex in towel.held.items()}

    def contradicts(self, plans: Plans, state: WorldState) -> bool:
        towel = _towel(state)
        for name, plan in plans.items():
            if plan.mode is Mode.CARRY and plan.mode_s > _CARRY_GRACE_S and towel.held[name] is None:
                return True
            if plan.mode is Mode.RETREAT and plan.mode_s > _CARRY_GRACE_S and not self._folded(towel):
                return True
            if plan.mode is Mode.APPROACH and (towel.held[name] is not None or self._folded(towel)):
                return True
        return False

    def finished(self, plans: Plans, state: WorldState) -> bool:
        towel = _towel(state)
        lowest = towel.table_z_m + RETREAT_HEIGHT_M - _RETREATED_TOLERANCE_M
        away = all(hand.tcp.position_m[2] >= lowest for hand in state.hands.values())
        return all(plan.mode is Mode.RETREAT for plan in plans.values()) and away and self._folded(towel)

    def kept_clear(self, positions_m: Mapping[str, Array], state: WorldState) -> Mapping[str, Array]:
        """Within easy reach of each arm, and the hands neither near each other nor farther apart than a towel between them is wide."""
        towel = _towel(state)
        clear = {}
        for name, position in positions_m.items():
            origin = np.array([*self._shoulders[name][:2], towel.table_z_m])
            clear[name] = origin + np.clip(position - origin, _EASY_LOW_M, _EASY_HIGH_M)
        holding = all(vertex is not None for vertex in towel.held.values())
        left, right = clear[self._left], clear[self._right]
        widest = _apart_m(*(state.hands[name].tcp.position_m for name in (self._left, self._right))) if holding else math.inf
        wanted = max(min(_apart_m(left, right), widest), _HANDS_APART_M)
        aside = 0.5 * (wanted / max(_apart_m(left, right), 1e-6) - 1.0) * (left - right) * [1.0, 1.0, 0.0]
        return {self._left: left + aside, self._right: right - aside}

    def _folded(self, towel: TowelState) -> bool:
        released = all(vertex is None for vertex in towel.held.values())
        error = float(np.mean(towel.corner_errors_m))
        return (
            released and error <= FOLDED_SHARE * self._parameters.success_corner_m and towel.height_m <= self._parameters.success_height_m
        )

    def _goals(self, towel: TowelState) -> dict[str, HandGoal]:
        ways = {
            self._left: (CORNERS.far_left, CORNERS.near_left, CORNERS.near_right),
            self._right: (CORNERS.far_right, CORNERS.near_right, CORNERS.near_left),
        }
        goals = {}
        for name, (far, near, opposite) in ways.items():
            inwards = INSIDE_SHARE * (towel.vertices_m[opposite] - towel.vertices_m[near])
            goals[name] = HandGoal(
                grasp_m=_at_height(towel.vertices_m[far] + inwards, max(towel.vertices_m[far, 2], towel.table_z_m + GRASP_HEIGHT_M)),
                release_m=_at_height(towel.vertices_m[near] + inwards, towel.table_z_m + RELEASE_HEIGHT_M),
                shoulder_m=self._shoulders[name],
                edge_m=towel.edge_m,
                gripper=self._grippers[name],
            )
        return goals


def _towel(state: WorldState) -> TowelState:
    if state.towel is None:
        raise ValueError("expected a world with a towel")
    return state.towel


def _apart_m(left_m: Array, right_m: Array) -> float:
    """Horizontally."""
    return float(np.hypot(*(left_m - right_m)[:2]))


def _at_height(point_m: Array, height_m: float) -> Array:
    return np.array([*point_m[:2], height_m])


def slope_quat(place_m: Array, shoulder_m: Array) -> Array:
    """Fingers ahead and down, the flatter the farther away; x of the hand leads out of the finger tips."""
    share = (float(place_m[0] - shoulder_m[0]) - _STEEP_AT_M) / (_FLAT_AT_M - _STEEP_AT_M)
    pitch = _STEEP_RAD + min(max(share, 0.0), 1.0) * (_FLAT_RAD - _STEEP_RAD)
    return quat_from_rpy(np.array([0.0, pitch, 0.0]))


def angle_on_circle(place_m: Array, goal: HandGoal) -> float:
    """How far the fold has got: 0 at the far end of the edge, pi at the near one."""
    along = float(np.linalg.norm(goal.release_m[:2] - place_m[:2])) - goal.edge_m / 2
    return math.atan2(max(float(place_m[2] - goal.release_m[2]), 1e-3), along)


def advance(plans: Plans, goals: Mapping[str, HandGoal], step_s: float) -> Plans:
    """Both plans one step later."""
    angles = {name: angle_on_circle(plan.position_m, goals[name]) for name, plan in plans.items()}
    last = min(angles.values())
    later = {name: _moved(plan, goals[name], angles[name] - last, step_s) for name, plan in plans.items()}
    return _entered(later, goals)


def _moved(plan: Plan, goal: HandGoal, ahead_rad: float, step_s: float) -> Plan:
    place = goal.grasp_m if plan.mode in (Mode.APPROACH, Mode.CLOSE) else plan.position_m
    quat = slope_quat(place, goal.shoulder_m)
    gripper = field.expected_gripper(plan, 0.0, goal.gripper.opening_max_m, goal.gripper.velocity_m_s * step_s)
    return field.moved(plan, quat, _wanted_velocity(plan, goal, Pose(place, quat), ahead_rad), gripper, step_s)


def _wanted_velocity(plan: Plan, goal: HandGoal, grasp: Pose, ahead_rad: float) -> Array:
    if plan.mode is Mode.APPROACH:
        effective = float(np.hypot(*(goal.grasp_m - plan.position_m)[:2])) + field.misalignment_m(plan, grasp)
        effective += max(0.5 * goal.gripper.opening_max_m - plan.gripper_m, 0.0)
        return field.funnel_velocity(plan, goal.grasp_m, _UP, field.funnel_m(effective, HOVER_M))
    if plan.mode is Mode.CARRY:
        share = min(max(1.0 - (ahead_rad - _WAIT_RAD) / _WAIT_RAD, _SLOWEST_SHARE), 1.0)
        return field.towards(_next_on_circle(plan.position_m, goal) - plan.position_m, CARRY_SPEED_M_S * share)
    if plan.mode is Mode.RETREAT:
        return field.towards(_at_height(plan.position_m, goal.release_m[2] + RETREAT_HEIGHT_M) - plan.position_m)
    return np.zeros(3)


def _next_on_circle(place_m: Array, goal: HandGoal) -> Array:
    """A point of the circle a little ahead; from its end on the place where the corner is let go."""
    angle = angle_on_circle(place_m, goal) + _AHEAD_RAD
    if angle >= math.pi:
        return goal.release_m
    back = place_m[:2] - goal.release_m[:2]
    back = back / max(float(np.linalg.norm(back)), 1e-6)
    radius = goal.edge_m / 2
    flat = goal.release_m[:2] + radius * (1.0 + math.cos(angle)) * back
    return np.array([*flat, goal.release_m[2] + radius * math.sin(angle)])


def _entered(plans: Plans, goals: Mapping[str, HandGoal]) -> Plans:
    """Modes that follow from where both hands have got to."""
    gripped = all(
        plan.mode is Mode.CARRY or (plan.mode is Mode.CLOSE and plan.gripper_m <= PINCH_OPENING_M and plan.mode_s >= field.CLOSED_DWELL_S)
        for plan in plans.values()
    )
    arrived = all(plan.mode is Mode.CARRY and field.near(plan, goals[name].release_m) for name, plan in plans.items())
    return {name: field.entered(plan, _next_mode(plan, goals[name], gripped, arrived)) for name, plan in plans.items()}


def _next_mode(plan: Plan, goal: HandGoal, gripped: bool, arrived: bool) -> Mode:
    if plan.mode is Mode.APPROACH:
        return Mode.CLOSE if field.is_aligned(plan, Pose(goal.grasp_m, slope_quat(goal.grasp_m, goal.shoulder_m))) else Mode.APPROACH
    if plan.mode is Mode.CLOSE:
        return Mode.CARRY if gripped else Mode.CLOSE
    if plan.mode is Mode.CARRY:
        return Mode.OPEN if arrived else Mode.CARRY
    if plan.mode is Mode.OPEN:
        return Mode.RETREAT if plan.gripper_m >= RELEASE_OPENING_M else Mode.OPEN
    return Mode.RETREAT
