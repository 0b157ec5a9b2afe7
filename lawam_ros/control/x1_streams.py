"""The newest of every stream of a Quanta X1, put together into one report: readers write, the bridge reads, nobody waits."""

import math
import threading
from collections.abc import Mapping, Sequence

import numpy as np

from lawam_ros.contract.robot import Robot
from lawam_ros.control.robot_report import RobotReport

BATTERY_AGE_S = 10.0
"""An older level says nothing about now."""

_SHOWN = 200
"""Characters of a bad message's description."""


class X1Streams:
    """Joint states of the arms and grippers by name: a row more (an arm's gripper) or another order changes nothing."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._lock = threading.Lock()
        self._positions: dict[str, float] = {}
        self._stamps_ns: dict[str, int] = {}
        self._battery: tuple[float, float] | None = None
        self._trouble = ""
        self.bad_messages = 0
        self.last_bad = ""

    def joints(self, stream: str, expected: Sequence[str], names: Sequence[str], positions: Sequence[float], stamp_ns: int) -> None:
        """One message of ``stream``, of which the ``expected`` joints count. One that lacks any, or names one twice, is dropped."""
        values = dict(zip(names, positions, strict=False))
        usable = len(set(names)) == len(names) == len(positions) and all(name in values for name in expected)
        with self._lock:
            if not usable:
                self.bad_messages += 1
                got = ", ".join(map(str, names[: 2 * len(expected)]))[:_SHOWN]
                self.last_bad = f"{stream}: expected positions of {', '.join(expected)}, got {got} with {len(positions)} numbers"
                return
            self._positions |= {name: float(values[name]) for name in expected}
            self._stamps_ns[stream] = stamp_ns

    def battery(self, percent: float, now_s: float) -> None:
        with self._lock:
            self._battery = (float(percent), now_s)

    def trouble(self, reason: str) -> None:
        """Why the robot obeys nobody; empty when it does."""
        with self._lock:
            self._trouble = reason

    def report(self, now_s: float) -> RobotReport:
        """now_s: on the clock of ``battery``."""
        with self._lock:
            positions, stamps, battery, trouble = dict(self._positions), dict(self._stamps_ns), self._battery, self._trouble
        joints = np.array([positions.get(name, math.nan) for name in self._robot.joint_names])
        level = battery[0] if battery is not None and now_s - battery[1] <= BATTERY_AGE_S else None
        return RobotReport(joints, _openings(self._robot, positions), stamps, level, trouble)


def arm_stream(arm: str) -> str:
    return f"{arm}_arm"


def gripper_stream(arm: str) -> str:
    return f"{arm}_gripper"


def _openings(robot: Robot, positions: Mapping[str, float]) -> dict[str, float]:
    """Openings in m of the grippers that were heard; the mean of a gripper's joints."""
    heard = [arm for arm in robot.arms if all(joint in positions for joint in arm.gripper.joints)]
    return {arm.name: arm.gripper.opening_per_joint * float(np.mean([positions[joint] for joint in arm.gripper.joints])) for arm in heard}
