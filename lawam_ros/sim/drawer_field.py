"""Drawer opening: what the scripted expert wants to do from any situation.

The hand slopes 40 degrees below the horizontal, its fingers close in the vertical plane across the bar; upright it would meet the case,
level it could not reach low enough. It comes along that slope, pulls along the drawer's way and leaves along the slope. A pull that
slipped goes on from where the drawer stands.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Pose
from lawam_ros.contract.robot import Arm
from lawam_ros.contract.rotations import matrix_from_quat, quat_from_matrix
from lawam_ros.sim import expert_field as field
from lawam_ros.sim.cabinet import HANDLE_RADIUS_M, DrawerState
from lawam_ros.sim.expert_field import HandMotion, Mode, Plan
from lawam_ros.sim.world_parameters import WorldParameters
from lawam_ros.sim.world_state import WorldState

Array = NDArray[np.float64]

SLOPE_RAD = math.radians(40.0)
PULLED_M = 0.165
OPEN_ENOUGH_M = 0.14
STILL_OPEN_M = 0.13
PULL_SPEED_M_S = 0.20
HOVER_M = 0.10
RETREAT_M = 0.11
RETREATED_TOLERANCE_M = 0.02
FREE_OPENING_M = 2 * HANDLE_RADIUS_M + field.RELEASE_MARGIN_M
_HELD_DISTANCE_M = 0.025
_HELD_OPENING_M = 0.03
_HELD_TURN_RAD = 0.12
_PULL_GRACE_S = 0.3
_LOWEST_M = 0.07
_UPRIGHT_HAND_ROOM_M = 0.125
_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Scene:
    """What the expert knows beyond its own plan (m, base frame).

    handle_m: middle of the bar now; pulled_m: where it shall end. back: unit vector from the bar up the slope. held_offset_m: TCP from the
    bar while it is held.
    """

    handle_m: Array
    pulled_m: Array
    back: Array
    grasp_quat_xyzw: Array
    held_offset_m: Array
    opening_max_m: float
    gripper_velocity_m_s: float


class DrawerField:
    """The drawer is pulled open by its bar."""

    def __init__(self, arm: Arm, parameters: WorldParameters) -> None:
        self._gripper = arm.gripper

    def motion(self, state: WorldState) -> HandMotion:
        drawer = _drawer(state)
        scene = Scene(
            handle_m=drawer.handle_m,
            pulled_m=drawer.handle_m + (PULLED_M - drawer.opened_m) * drawer.outward,
            back=back_of(drawer),
            grasp_quat_xyzw=grasp_quat(drawer),
            held_offset_m=state.hand.tcp.position_m - drawer.handle_m if _holds(state) else np.zeros(3),
            opening_max_m=self._gripper.opening_max_m,
            gripper_velocity_m_s=self._gripper.velocity_m_s,
        )
        return partial(_advance_in, scene)

    def mode_of(self, state: WorldState) -> Mode:
        drawer = _drawer(state)
        around = drawer.distance_m(state.hand.tcp.position_m) < _HELD_DISTANCE_M
        if drawer.opened_m >= OPEN_ENOUGH_M:
            return Mode.OPEN if around and state.hand.gripper_m < FREE_OPENING_M else Mode.RETREAT
        return Mode.PULL if _holds(state) else Mode.APPROACH

    def contradicts(self, plan: Plan, state: WorldState) -> bool:
        opened_m = _drawer(state).opened_m
        if plan.mode is Mode.PULL:
            return plan.mode_s > _PULL_GRACE_S and not _holds(state)
        if plan.mode in (Mode.OPEN, Mode.RETREAT):
            return opened_m < STILL_OPEN_M
        return plan.mode is Mode.APPROACH and opened_m >= OPEN_ENOUGH_M

    def finished(self, mode: Mode, state: WorldState) -> bool:
        """Drawer open, hand off the bar and away."""
        drawer = _drawer(state)
        away = float((state.hand.tcp.position_m - drawer.handle_m) @ back_of(drawer)) >= RETREAT_M - RETREATED_TOLERANCE_M
        return mode is Mode.RETREAT and drawer.opened_m >= STILL_OPEN_M and drawer.fingers_touching == 0 and away

    def kept_clear(self, position_m: Array, state: WorldState) -> Array:
        """On the bar's side of the cabinet, farther from it the more upright the broad hand is, and high enough over the table."""
        drawer = _drawer(state)
        fingers = matrix_from_quat(state.hand.tcp.quat_xyzw)[:, 1]
        uprightness = (abs(float(fingers @ drawer.outward)) - math.sin(SLOPE_RAD)) / (1.0 - math.sin(SLOPE_RAD))
        before = float((position_m - drawer.handle_m) @ drawer.outward)
        missing = _UPRIGHT_HAND_ROOM_M * min(max(uprightness, 0.0), 1.0) - before
        clear = position_m + max(missing, 0.0) * drawer.outward
        return np.array([*clear[:2], max(clear[2], _LOWEST_M)])


def _drawer(state: WorldState) -> DrawerState:
    if state.drawer is None:
        raise ValueError("expected a world with a cabinet")
    return state.drawer


def _holds(state: WorldState) -> bool:
    drawer = _drawer(state)
    near = drawer.distance_m(state.hand.tcp.position_m) < _HELD_DISTANCE_M
    # A hand that grips askew would turn on the bar while it pulls, and hook a finger behind it: it lets go and comes anew.
    straight = float(np.linalg.norm(field.turn_between(state.hand.tcp.quat_xyzw, grasp_quat(drawer)))) < _HELD_TURN_RAD
    return near and straight and drawer.fingers_touching == 2 and state.hand.gripper_m < _HELD_OPENING_M


def back_of(drawer: DrawerState) -> Array:
    """Unit vector from the bar up the slope along which the hand comes and goes."""
    return math.cos(SLOPE_RAD) * drawer.outward + math.sin(SLOPE_RAD) * _UP


def grasp_quat(drawer: DrawerState) -> Array:
    """Hand along the slope, fingers above and below the bar; of the two such orientations the one near the hand that points down."""
    approach = -back_of(drawer)
    fingers = math.sin(SLOPE_RAD) * drawer.outward - math.cos(SLOPE_RAD) * _UP
    return quat_from_matrix(np.stack([np.cross(fingers, approach), fingers, approach], axis=1))


def goal_pose(plan: Plan, scene: Scene) -> Pose:
    """Where the present mode ends."""
    if plan.mode in (Mode.APPROACH, Mode.CLOSE):
        return Pose(scene.handle_m, scene.grasp_quat_xyzw)
    if plan.mode is Mode.PULL:
        return Pose(scene.pulled_m + scene.held_offset_m, scene.grasp_quat_xyzw)
    if plan.mode is Mode.OPEN:
        return Pose(plan.position_m, plan.quat_xyzw)
    missing = RETREAT_M - float((plan.position_m - scene.pulled_m) @ scene.back)
    return Pose(plan.position_m + max(missing, 0.0) * scene.back, plan.quat_xyzw)


def advance(plan: Plan, scene: Scene, step_s: float) -> Plan:
    """The plan one step later."""
    goal = goal_pose(plan, scene)
    gripper = field.expected_gripper(plan, 2 * HANDLE_RADIUS_M, scene.opening_max_m, scene.gripper_velocity_m_s * step_s)
    later = field.moved(plan, goal.quat_xyzw, _wanted_velocity(plan, scene, goal), gripper, step_s)
    return field.entered(later, _next_mode(later, scene, goal))


def _advance_in(scene: Scene, plan: Plan, step_s: float) -> Plan:
    return advance(plan, scene, step_s)


def _wanted_velocity(plan: Plan, scene: Scene, goal: Pose) -> Array:
    offset = goal.position_m - plan.position_m
    if plan.mode is not Mode.APPROACH:
        return field.towards(offset, PULL_SPEED_M_S)
    sideways = offset - float(offset @ scene.back) * scene.back
    effective = float(np.linalg.norm(sideways)) + field.misalignment_m(plan, goal)
    effective += max(0.85 * scene.opening_max_m - plan.gripper_m, 0.0)
    return field.funnel_velocity(plan, goal.position_m, scene.back, field.funnel_m(effective, HOVER_M))


def _next_mode(plan: Plan, scene: Scene, goal: Pose) -> Mode:
    if plan.mode is Mode.APPROACH:
        return Mode.CLOSE if field.is_aligned(plan, goal) else Mode.APPROACH
    if plan.mode is Mode.CLOSE:
        return field.after_closing(plan, 2 * HANDLE_RADIUS_M, Mode.PULL)
    if plan.mode is Mode.PULL:
        return Mode.OPEN if field.near(plan, goal.position_m) else Mode.PULL
    if plan.mode is Mode.OPEN:
        return Mode.RETREAT if plan.gripper_m >= FREE_OPENING_M else Mode.OPEN
    return Mode.RETREAT
