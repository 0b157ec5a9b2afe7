"""What a scripted expert is made of: a plan, modes, and a field that says from any situation where the TCP goes next.

The motion is a field over the situation, not a list of way points: above a funnel around the goal the TCP moves sideways, inside it
towards the goal, beside it back out first. So it comes from everywhere without touching a thing from the side, and a policy that sees one
picture can learn it. Frame: the robot's base.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import quat_from_rotvec, quat_inverse, quat_multiply, rotvec_from_quat
from lawam_ros.sim.world_state import WorldState

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
ALIGNED_M = 0.004
ALIGNED_RAD = 0.04
CLOSED_DWELL_S = 0.15
CLOSE_TIMEOUT_S = 1.2
GRIP_MARGIN_M = 0.004
RELEASE_MARGIN_M = 0.025


class Mode(enum.Enum):
    APPROACH = "approach"
    CLOSE = "close"
    CARRY = "carry"
    PULL = "pull"
    OPEN = "open"
    RETREAT = "retreat"


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
        return self.mode in (Mode.CLOSE, Mode.CARRY, Mode.PULL)


HandMotion = Callable[[Plan, float], Plan]
"""The plan so many seconds later, assuming it is followed exactly and a closing gripper finds its object."""

Plans = Mapping[str, Plan]
"""Arm -> plan."""

Motion = Callable[[Plans, float], Plans]
"""The plans of all hands so many seconds later, as in ``HandMotion``."""


class ExpertField(Protocol):
    """One task's expert. All but ``motion``'s plans is judged from the state of the world alone."""

    def motion(self, state: WorldState) -> Motion:
        """How plans go on in this state of the world."""

    def modes_of(self, state: WorldState) -> Mapping[str, Mode]:
        """What each hand is to do in this state when nothing else is known."""

    def contradicts(self, plans: Plans, state: WorldState) -> bool:
        """Whether the world is not as the plans' modes take it to be."""

    def finished(self, plans: Plans, state: WorldState) -> bool:
        """Whether the task is done and the hands up and away."""

    def kept_clear(self, positions_m: Mapping[str, Array], state: WorldState) -> Mapping[str, Array]:
        """The nearest places of the TCPs where the hands can be without hitting anything of the scene's."""


def moved(plan: Plan, goal_quat_xyzw: Array, wanted_velocity_m_s: Array, gripper_m: float, step_s: float) -> Plan:
    """The same mode one step later: towards a velocity and an orientation within the accelerations."""
    velocity = limited(wanted_velocity_m_s - plan.velocity_m_s, ACCELERATION_M_S2 * step_s) + plan.velocity_m_s
    wanted_turn = limited(TURN_GAIN_PER_S * turn_between(plan.quat_xyzw, goal_quat_xyzw), TURN_SPEED_RAD_S)
    angular = plan.angular_velocity_rad_s + limited(wanted_turn - plan.angular_velocity_rad_s, TURN_ACCELERATION_RAD_S2 * step_s)
    return replace(
        plan,
        mode_s=plan.mode_s + step_s,
        position_m=plan.position_m + velocity * step_s,
        velocity_m_s=velocity,
        quat_xyzw=quat_multiply(quat_from_rotvec(angular * step_s), plan.quat_xyzw),
        angular_velocity_rad_s=angular,
        gripper_m=gripper_m,
    )


def funnel_velocity(plan: Plan, goal_m: Array, back: Array, back_m: float, top_speed_m_s: float = SPEED_M_S) -> Array:
    """Sideways to the axis through the goal, and along it to ``back_m`` before the goal. ``back``: unit vector away from the goal.

    Nearer than that the TCP first backs off: moving sideways there would push the object or drag it over the table.
    """
    offset = goal_m - plan.position_m
    along = float(offset @ back)
    sideways = offset - along * back
    rise = along + back_m
    freedom = min(max(1.0 - (rise - 0.01) / 0.03, 0.0), 1.0)
    return freedom * towards(sideways, top_speed_m_s) + towards(rise * back, top_speed_m_s)


def funnel_m(effective_distance_m: float, top_m: float) -> float:
    """How far before the goal is right at this distance from the axis; misalignment counts like distance (``effective``)."""
    return min(max(FUNNEL_SLOPE * (effective_distance_m - FUNNEL_MOUTH_M), 0.0), top_m)


def misalignment_m(plan: Plan, goal: Pose) -> float:
    """Turn still to be made, as a distance that keeps the hand out of the funnel."""
    turn = float(np.linalg.norm(turn_between(plan.quat_xyzw, goal.quat_xyzw)))
    return 0.08 * max(turn - ALIGNED_RAD, 0.0)


def is_aligned(plan: Plan, goal: Pose) -> bool:
    turn = float(np.linalg.norm(turn_between(plan.quat_xyzw, goal.quat_xyzw)))
    return near(plan, goal.position_m) and turn < ALIGNED_RAD


def near(plan: Plan, goal_m: Array) -> bool:
    return float(np.linalg.norm(goal_m - plan.position_m)) < ALIGNED_M


def expected_gripper(plan: Plan, object_m: float, opening_max_m: float, travel_m: float) -> float:
    """Opening one step later; a closing hand stops at the object."""
    if plan.closing:
        return max(plan.gripper_m - travel_m, min(plan.gripper_m, object_m))
    return min(plan.gripper_m + travel_m, opening_max_m)


def after_closing(plan: Plan, object_m: float, then: Mode) -> Mode:
    """CLOSE goes on until the object is gripped, and gives up when that takes too long."""
    gripped = plan.gripper_m <= object_m + GRIP_MARGIN_M and plan.mode_s >= CLOSED_DWELL_S
    return then if gripped else Mode.APPROACH if plan.mode_s > CLOSE_TIMEOUT_S else Mode.CLOSE


def entered(plan: Plan, mode: Mode) -> Plan:
    return plan if mode is plan.mode else replace(plan, mode=mode, mode_s=0.0)


def turn_between(from_quat_xyzw: Array, to_quat_xyzw: Array) -> Array:
    """Rotation vector of the base frame that turns one orientation into another."""
    return rotvec_from_quat(quat_multiply(to_quat_xyzw, quat_inverse(from_quat_xyzw)))


def towards(offset_m: Array, top_speed_m_s: float = SPEED_M_S) -> Array:
    """Velocity that arrives without overshoot: constant far away, proportional near the goal, with a floor so that it does arrive."""
    distance = float(np.linalg.norm(offset_m))
    if distance < 1e-6:
        return np.zeros_like(offset_m)
    speed = min(max(GAIN_PER_S * distance, SLOWEST_M_S), top_speed_m_s, 10.0 * distance)
    return offset_m * (speed / distance)


def limited(vector: Array, longest: float) -> Array:
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)
