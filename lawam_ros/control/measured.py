"""What the robot says about its joints: completeness, age, sanity."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import JointCommand, Pose
from lawam_ros.contract.robot import Robot
from lawam_ros.control.kinematics import Chain

Array = NDArray[np.float64]

FAR_OUTSIDE_RAD = 0.05
"""Commands end at the limits and an arm follows closely: measured this far beyond them, either the joint or its reading is wrong."""


def robot_state(robot: Robot, chains: Mapping[str, Chain], joints: Mapping[str, float]) -> tuple[dict[str, Pose], dict[str, float], Array]:
    """What a policy reads of one instant: TCP pose and gripper opening (m) per arm, and the joints (rad, robot order).

    chains: arm -> its kinematics; joints: URDF name -> position, fingers in m. KeyError for a joint that is not there.
    """
    joints_rad = np.array([joints[name] for name in robot.joint_names])
    tcp = {arm.name: chains[arm.name].pose(joints_rad[robot.joint_slice(arm.name)]) for arm in robot.arms}
    openings = {
        arm.name: arm.gripper.opening_per_joint * float(np.mean([joints[name] for name in arm.gripper.joints])) for arm in robot.arms
    }
    return tcp, openings, joints_rad


def joints_of_command(command: JointCommand, robot: Robot) -> dict[str, float]:
    """Positions by URDF name of an arm that stands as commanded, fingers included (rad; fingers in m)."""
    positions = dict(zip(robot.joint_names, map(float, command.positions_rad), strict=True))
    for arm in robot.arms:
        finger_m = command.gripper_m[arm.name] / arm.gripper.opening_per_joint
        positions |= dict.fromkeys(arm.gripper.joints, finger_m)
    return positions


class MeasuredJoints:
    """Newest measured joints (rad, robot order) and gripper openings (m per arm).

    Arm joints count only when one message holds all of them, so that a message is one instant; fingers may come in messages of their own.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._names = robot.joint_names
        self.joints_rad: Array = np.zeros(len(self._names))
        self.openings_m: dict[str, float] = {}
        self.stamp_ns: int | None = None
        self.broken = False
        self.far_outside = False
        self._lower_rad = np.concatenate([arm.limits.lower_rad for arm in robot.arms]) - FAR_OUTSIDE_RAD
        self._upper_rad = np.concatenate([arm.limits.upper_rad for arm in robot.arms]) + FAR_OUTSIDE_RAD
        self.ignored = 0
        self._missing: tuple[str, ...] = self._names

    @property
    def complete(self) -> bool:
        return self.stamp_ns is not None

    def update(self, stamp_ns: int, positions: Mapping[str, float]) -> None:
        """One joint_states message. ``broken`` tells whether it held values that are not finite, ``far_outside`` beyond their limits."""
        known = [name for name in self._names if name in positions]
        self._update_grippers(positions)
        if not known:
            return
        if len(known) < len(self._names) or (self.stamp_ns is not None and stamp_ns < self.stamp_ns):
            self._missing = tuple(name for name in self._names if name not in positions)
            self.ignored += 1
            return
        joints = np.array([positions[name] for name in self._names], dtype=float)
        self.broken = not bool(np.isfinite(joints).all())
        self.far_outside = bool(((joints < self._lower_rad) | (joints > self._upper_rad)).any())
        if not self.broken:
            self.joints_rad, self.stamp_ns, self._missing = joints, stamp_ns, ()

    def restamp(self, now_ns: int) -> None:
        """Count the last message as taken now: its stamp is of a time that no longer is."""
        if self.stamp_ns is not None:
            self.stamp_ns = now_ns

    def age_s(self, now_ns: int) -> float:
        return math.inf if self.stamp_ns is None else (now_ns - self.stamp_ns) * 1e-9

    def problem(self, now_ns: int) -> str:
        """Why motion must not start from these joints, in a sentence; empty when it may."""
        if self.broken:
            return "expected finite joint positions, the newest joint_states message holds others; check the robot driver"
        if self._missing:
            return f"expected joint_states with all joints of the robot file, missing: {', '.join(self._missing)}; check driver and robot"
        age, budget = self.age_s(now_ns), self._robot.budgets.joint_state_age_s
        if age > budget:
            return f"expected joint_states younger than {budget:g} s, the newest is {age:.3f} s old; check the robot driver"
        start = 0
        for arm in self._robot.arms:
            for i, name in enumerate(arm.joints):
                value = float(self.joints_rad[start + i])
                low, high = float(arm.limits.lower_rad[i]), float(arm.limits.upper_rad[i])
                if not low <= value <= high:
                    return (
                        f"expected joint {name} between {low:.3f} and {high:.3f} rad, measured {value:.3f}; "
                        "move the arm inside its limits by hand"
                    )
            start += len(arm.joints)
            if arm.name not in self.openings_m:
                return f"expected gripper joints {', '.join(arm.gripper.joints)} in joint_states, got none; check the gripper driver"
        return ""

    def _update_grippers(self, positions: Mapping[str, float]) -> None:
        for arm in self._robot.arms:
            values = [positions[name] for name in arm.gripper.joints if name in positions]
            if len(values) == len(arm.gripper.joints) and all(math.isfinite(value) for value in values):
                self.openings_m[arm.name] = arm.gripper.opening_per_joint * sum(values) / len(values)
