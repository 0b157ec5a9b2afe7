"""Pick-and-place: what the scripted expert wants to do from any situation. Heights follow the way points 0.12 m above the cube, 0.15 m
when carrying; the cube is reached from above."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Pose
from lawam_ros.contract.robot import Arm
from lawam_ros.contract.rotations import matrix_from_quat, quat_from_rotvec, quat_multiply
from lawam_ros.sim import expert_field as field
from lawam_ros.sim.cube_and_pad import CubeState
from lawam_ros.sim.expert_field import HandMotion, Mode, Plan
from lawam_ros.sim.world_parameters import WorldParameters, on_table
from lawam_ros.sim.world_state import WorldState

Array = NDArray[np.float64]

HOVER_HEIGHT_M = 0.10
CARRY_HEIGHT_M = 0.13
RETREAT_HEIGHT_M = 0.12
PLACE_CLEARANCE_M = 0.003
LOST_DISTANCE_M = 0.035
RETREATED_TOLERANCE_M = 0.02
_CARRY_GRACE_S = 0.3
_DOWN_QUAT_XYZW = np.array([1.0, 0.0, 0.0, 0.0])
_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Scene:
    """What the expert knows beyond its own plan: the cube and the pad, and where the cube would sit in the hand (m, base frame)."""

    cube_position_m: Array
    cube_yaw_rad: float
    pad_position_m: Array
    held_offset_m: Array
    cube_size_m: float
    opening_max_m: float
    gripper_velocity_m_s: float


class PickPlaceField:
    """The cube goes onto the pad."""

    def __init__(self, arm: Arm, parameters: WorldParameters) -> None:
        self._gripper = arm.gripper
        self._radius_m = on_table(parameters.cube).success_radius_m

    def motion(self, state: WorldState) -> HandMotion:
        cube = _cube(state)
        scene = Scene(
            cube_position_m=cube.pose.position_m,
            cube_yaw_rad=cube_yaw_rad(cube.pose.quat_xyzw),
            pad_position_m=cube.pad_position_m,
            held_offset_m=state.hand.tcp.position_m - cube.pose.position_m if _holds(state) else np.zeros(3),
            cube_size_m=cube.size_m,
            opening_max_m=self._gripper.opening_max_m,
            gripper_velocity_m_s=self._gripper.velocity_m_s,
        )
        return partial(_advance_in, scene)

    def mode_of(self, state: WorldState) -> Mode:
        if _holds(state):
            return Mode.CARRY
        return Mode.RETREAT if self._at_goal(state) else Mode.APPROACH

    def contradicts(self, plan: Plan, state: WorldState) -> bool:
        if plan.mode is Mode.CARRY:
            return plan.mode_s > _CARRY_GRACE_S and not _holds(state)
        if plan.mode is Mode.RETREAT:
            return not self._at_goal(state) and plan.mode_s > _CARRY_GRACE_S
        return plan.mode is Mode.APPROACH and self._at_goal(state)

    def finished(self, mode: Mode, state: WorldState) -> bool:
        """Cube on the pad, hand up and away."""
        height = _cube(state).size_m / 2 + RETREAT_HEIGHT_M - RETREATED_TOLERANCE_M
        return mode is Mode.RETREAT and self._at_goal(state) and bool(state.hand.tcp.position_m[2] >= height)

    def kept_clear(self, position_m: Array, state: WorldState) -> Array:
        return position_m

    def _at_goal(self, state: WorldState) -> bool:
        cube = _cube(state)
        error = float(np.linalg.norm(cube.pose.position_m[:2] - cube.pad_position_m[:2]))
        on_table = cube.pose.position_m[2] < cube.size_m / 2 + 0.01
        return error < 0.8 * self._radius_m and bool(on_table) and cube.fingers_touching == 0


def _cube(state: WorldState) -> CubeState:
    if state.cube is None:
        raise ValueError("expected a world with a cube")
    return state.cube


def _holds(state: WorldState) -> bool:
    cube = _cube(state)
    near = float(np.linalg.norm(state.hand.tcp.position_m - cube.pose.position_m)) < LOST_DISTANCE_M
    return near and cube.fingers_touching == 2 and state.hand.gripper_m < cube.size_m * 1.5


def cube_yaw_rad(quat_xyzw: Array) -> float:
    """Rotation of a cube about the vertical within +-45 degrees, whichever of its faces lies on the table."""
    matrix = matrix_from_quat(quat_xyzw)
    flattest = int(np.argmin(np.abs(matrix[2])))
    yaw = math.atan2(matrix[1, flattest], matrix[0, flattest])
    return (yaw + math.pi / 4) % (math.pi / 2) - math.pi / 4


def down_quat(yaw_rad: float) -> Array:
    """Hand pointing down, turned by ``yaw_rad`` about the vertical."""
    return quat_multiply(quat_from_rotvec(np.array([0.0, 0.0, yaw_rad])), _DOWN_QUAT_XYZW)


def upright(quat_xyzw: Array) -> Array:
    """The nearest orientation that points straight down."""
    x_axis = matrix_from_quat(quat_xyzw)[:, 0]
    return down_quat(math.atan2(x_axis[1], x_axis[0]))


def goal_pose(plan: Plan, scene: Scene) -> Pose:
    """Where the present mode ends."""
    if plan.mode in (Mode.APPROACH, Mode.CLOSE):
        x, y, _ = scene.cube_position_m
        return Pose(np.array([x, y, scene.cube_size_m / 2]), down_quat(scene.cube_yaw_rad))
    if plan.mode is Mode.CARRY:
        x, y = scene.pad_position_m[:2] + scene.held_offset_m[:2]
        height = scene.cube_size_m / 2 + float(scene.held_offset_m[2]) + PLACE_CLEARANCE_M
        return Pose(np.array([x, y, height]), upright(plan.quat_xyzw))
    height = plan.position_m[2] if plan.mode is Mode.OPEN else scene.cube_size_m / 2 + RETREAT_HEIGHT_M
    return Pose(np.array([*plan.position_m[:2], height]), upright(plan.quat_xyzw))


def advance(plan: Plan, scene: Scene, step_s: float) -> Plan:
    """The plan one step later."""
    goal = goal_pose(plan, scene)
    gripper = field.expected_gripper(plan, scene.cube_size_m, scene.opening_max_m, scene.gripper_velocity_m_s * step_s)
    later = field.moved(plan, goal.quat_xyzw, _wanted_velocity(plan, scene, goal), gripper, step_s)
    return field.entered(later, _next_mode(later, scene, goal))


def _advance_in(scene: Scene, plan: Plan, step_s: float) -> Plan:
    return advance(plan, scene, step_s)


def _wanted_velocity(plan: Plan, scene: Scene, goal: Pose) -> Array:
    if plan.mode in (Mode.CLOSE, Mode.OPEN):
        return field.towards(goal.position_m - plan.position_m)
    return field.funnel_velocity(plan, goal.position_m, _UP, _funnel_height(plan, scene, goal))


def _funnel_height(plan: Plan, scene: Scene, goal: Pose) -> float:
    """Height above the goal that is right at this distance from its axis."""
    if plan.mode is Mode.RETREAT:
        return 0.0
    effective = float(np.hypot(*(goal.position_m - plan.position_m)[:2])) + field.misalignment_m(plan, goal)
    if plan.mode is Mode.CARRY:
        return field.funnel_m(effective, CARRY_HEIGHT_M)
    return field.funnel_m(effective + max(0.85 * scene.opening_max_m - plan.gripper_m, 0.0), HOVER_HEIGHT_M)


def _next_mode(plan: Plan, scene: Scene, goal: Pose) -> Mode:
    if plan.mode is Mode.APPROACH:
        return Mode.CLOSE if field.is_aligned(plan, goal) else Mode.APPROACH
    if plan.mode is Mode.CLOSE:
        return field.after_closing(plan, scene.cube_size_m, Mode.CARRY)
    if plan.mode is Mode.CARRY:
        return Mode.OPEN if field.near(plan, goal.position_m) else Mode.CARRY
    if plan.mode is Mode.OPEN:
        return Mode.RETREAT if plan.gripper_m >= scene.cube_size_m + field.RELEASE_MARGIN_M else Mode.OPEN
    return Mode.RETREAT
