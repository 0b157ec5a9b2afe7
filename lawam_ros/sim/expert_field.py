"""What the scripted pick-and-place expert wants to do from any situation: modes, and a speed for the TCP in each of them.

The motion is a field over the situation, not a list of way points: above a funnel around the goal the TCP moves sideways, inside it
down, below it up first. So it comes from everywhere without touching the cube from the side, and a policy that sees one picture can
learn it. Frame: the arm's base, table at z = 0. Heights and speeds follow the way points 0.12 m above the cube, 0.15 m when carrying.
"""

import enum
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import matrix_from_quat, quat_from_rotvec, quat_inverse, quat_multiply, rotvec_from_quat

Array = NDArray[np.float64]

SPEED_M_S = 0.28
SLOWEST_M_S = 0.03
GAIN_PER_S = 3.5
ACCELERATION_M_S2 = 0.9
TURN_SPEED_RAD_S = 0.9
TURN_GAIN_PER_S = 4.0
TURN_ACCELERATION_RAD_S2 = 4.0
FUNNEL_SLOPE = 3.0
FUNNEL_MOUTH_M = 0.008
HOVER_HEIGHT_M = 0.10
CARRY_HEIGHT_M = 0.13
RETREAT_HEIGHT_M = 0.12
ALIGNED_M = 0.004
ALIGNED_RAD = 0.04
PLACE_CLEARANCE_M = 0.003
CLOSED_DWELL_S = 0.15
CLOSE_TIMEOUT_S = 1.2
GRIP_MARGIN_M = 0.004
RELEASE_MARGIN_M = 0.025
_DOWN_QUAT_XYZW = np.array([1.0, 0.0, 0.0, 0.0])


class Mode(enum.Enum):
    APPROACH = "approach"
    CLOSE = "close"
    CARRY = "carry"
    OPEN = "open"
    RETREAT = "retreat"


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


@dataclass(frozen=True)
class Plan:
    """The commanded TCP and what it is about to do. ``gripper_m`` is the opening expected by then, ``mode_s`` the time in this mode."""

    mode: Mode
    mode_s: float
    position_m: Array
    velocity_m_s: Array
    quat_xyzw: Array
    angular_velocity_rad_s: Array
    gripper_m: float

    @property
    def closing(self) -> bool:
        return self.mode in (Mode.CLOSE, Mode.CARRY)


def cube_yaw_rad(quat_xyzw: Array) -> float:
    """Rotation of a cube about the vertical within +-45 degrees, whichever of its faces lies on the table."""
    matrix = matrix_from_quat(quat_xyzw)
    flattest = int(np.argmin(np.abs(matrix[2])))
    yaw = math.atan2(matrix[1, flattest], matrix[0, flattest])
    return (yaw + math.pi / 4) % (math.pi / 2) - math.pi / 4


def down_quat(yaw_rad: float) -> Array:
    """Hand pointing down, turned by ``yaw_rad`` about the vertical."""
    return quat_multiply(quat_from_rotvec(np.array([0.0, 0.0, yaw_rad])), _DOWN_QUAT_XYZW)


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


def upright(quat_xyzw: Array) -> Array:
    """The nearest orientation that points straight down."""
    x_axis = matrix_from_quat(quat_xyzw)[:, 0]
    return down_quat(math.atan2(x_axis[1], x_axis[0]))


def advance(plan: Plan, scene: Scene, step_s: float) -> Plan:
    """The plan one step later, assuming it is followed exactly and a closing gripper finds the cube."""
    goal = goal_pose(plan, scene)
    velocity = _limited(_wanted_velocity(plan, scene, goal) - plan.velocity_m_s, ACCELERATION_M_S2 * step_s) + plan.velocity_m_s
    turn = rotvec_from_quat(quat_multiply(goal.quat_xyzw, quat_inverse(plan.quat_xyzw)))
    wanted_turn = _limited(TURN_GAIN_PER_S * turn, TURN_SPEED_RAD_S)
    angular = plan.angular_velocity_rad_s + _limited(wanted_turn - plan.angular_velocity_rad_s, TURN_ACCELERATION_RAD_S2 * step_s)
    moved = replace(
        plan,
        mode_s=plan.mode_s + step_s,
        position_m=plan.position_m + velocity * step_s,
        velocity_m_s=velocity,
        quat_xyzw=quat_multiply(quat_from_rotvec(angular * step_s), plan.quat_xyzw),
        angular_velocity_rad_s=angular,
        gripper_m=_expected_gripper(plan, scene, step_s),
    )
    mode = _next_mode(moved, scene, goal)
    return moved if mode is moved.mode else replace(moved, mode=mode, mode_s=0.0)


def _wanted_velocity(plan: Plan, scene: Scene, goal: Pose) -> Array:
    if plan.mode in (Mode.CLOSE, Mode.OPEN):
        return _towards(goal.position_m - plan.position_m)
    sideways = goal.position_m[:2] - plan.position_m[:2]
    distance = float(np.hypot(*sideways))
    height = float(goal.position_m[2]) + _funnel_height(plan, scene, goal, distance)
    rise = height - float(plan.position_m[2])
    # Below the funnel the TCP first rises: moving sideways there would push the cube or drag it over the table.
    freedom = min(max(1.0 - (rise - 0.01) / 0.03, 0.0), 1.0)
    return np.array([*(freedom * _towards(sideways)), *_towards(np.array([rise]))])


def _funnel_height(plan: Plan, scene: Scene, goal: Pose, distance_m: float) -> float:
    """Height above the goal that is right at this distance from its axis; misalignment counts like distance."""
    if plan.mode is Mode.RETREAT:
        return 0.0
    turn = float(np.linalg.norm(rotvec_from_quat(quat_multiply(goal.quat_xyzw, quat_inverse(plan.quat_xyzw)))))
    effective = distance_m + 0.08 * max(turn - ALIGNED_RAD, 0.0)
    top = CARRY_HEIGHT_M if plan.mode is Mode.CARRY else HOVER_HEIGHT_M
    if plan.mode is Mode.APPROACH:
        effective += max(0.85 * scene.opening_max_m - plan.gripper_m, 0.0)
    return min(max(FUNNEL_SLOPE * (effective - FUNNEL_MOUTH_M), 0.0), top)


def _towards(offset_m: Array) -> Array:
    """Velocity that arrives without overshoot: constant far away, proportional near the goal, with a floor so that it does arrive."""
    distance = float(np.linalg.norm(offset_m))
    if distance < 1e-6:
        return np.zeros_like(offset_m)
    speed = min(max(GAIN_PER_S * distance, SLOWEST_M_S), SPEED_M_S, 10.0 * distance)
    return offset_m * (speed / distance)


def _limited(vector: Array, longest: float) -> Array:
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)


def _expected_gripper(plan: Plan, scene: Scene, step_s: float) -> float:
    travel = scene.gripper_velocity_m_s * step_s
    if plan.closing:
        return max(plan.gripper_m - travel, min(plan.gripper_m, scene.cube_size_m))
    return min(plan.gripper_m + travel, scene.opening_max_m)


def _next_mode(plan: Plan, scene: Scene, goal: Pose) -> Mode:
    aligned = float(np.linalg.norm(goal.position_m - plan.position_m)) < ALIGNED_M
    if plan.mode is Mode.APPROACH:
        turn = float(np.linalg.norm(rotvec_from_quat(quat_multiply(goal.quat_xyzw, quat_inverse(plan.quat_xyzw)))))
        return Mode.CLOSE if aligned and turn < ALIGNED_RAD else Mode.APPROACH
    if plan.mode is Mode.CLOSE:
        gripped = plan.gripper_m <= scene.cube_size_m + GRIP_MARGIN_M and plan.mode_s >= CLOSED_DWELL_S
        return Mode.CARRY if gripped else Mode.APPROACH if plan.mode_s > CLOSE_TIMEOUT_S else Mode.CLOSE
    if plan.mode is Mode.CARRY:
        return Mode.OPEN if aligned else Mode.CARRY
    if plan.mode is Mode.OPEN:
        return Mode.RETREAT if plan.gripper_m >= scene.cube_size_m + RELEASE_MARGIN_M else Mode.OPEN
    return Mode.RETREAT
