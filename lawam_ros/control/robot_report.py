"""What a robot without ros2_control says of itself, and who may be told what: the two sides of a bridge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.records import JointCommand

Array = NDArray[np.float64]


class SendRefused(LawamError):
    """The robot did not take a command; the next one may do better."""


@dataclass(frozen=True)
class RobotReport:
    """joints_rad: measured, robot order, NaN where nothing was heard yet. openings_m: per arm. stamps_ns: stream -> the stamp of its newest
    message, on the robot's own clock: only a stamp that rises is news. battery_percent: None where it is not known. trouble: why the robot
    obeys nobody, empty when it does."""

    joints_rad: Array
    openings_m: Mapping[str, float]
    stamps_ns: Mapping[str, int] = field(default_factory=dict)
    battery_percent: float | None = None
    trouble: str = ""


class BackEnd(Protocol):
    """One way to a robot."""

    def open(self) -> None:
        """Connect and begin to listen; moves nothing. Raises LawamError."""
        ...

    def begin(self) -> None:
        """Take the robot over for joint commands; moves nothing. Raises LawamError."""
        ...

    def report(self) -> RobotReport:
        """The newest of what was heard. Never waits."""
        ...

    def send(self, command: JointCommand) -> None:
        """One set-point for all arms and grippers. Waits at most a few periods. Raises SendRefused."""
        ...

    def others(self) -> str:
        """Who else commands the robot, in a sentence; empty when nobody does, or it cannot be known."""
        ...

    @property
    def bad_messages(self) -> tuple[int, str]:
        """How many messages of the robot were of no use, and what the last one was."""
        ...

    def close(self) -> None: ...
