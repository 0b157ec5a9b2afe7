"""What controller and robot say about themselves: whether they obey, and when a start from the measured pose is allowed."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.bridge import ACTIVE_TOPIC
from lawam_ros.contract.real import TRAJECTORY_WINDOW, RealRobot
from lawam_ros.contract.robot import Drive

Array = NDArray[np.float64]

INACTIVE = "controller_inactive"
SILENT = "controller_silent"
REFUSES = "controller_refuses"


AT_REFERENCE_RAD = 0.01
"""A controller at rest holds our last command exactly: farther away, somebody else has moved it."""


@dataclass(frozen=True)
class Watched:
    """Topics on which a controller says whether it is active, and what it follows (empty where it does not say).

    max_age_s: longest silence of the latter, and how long it may be farther than reference_error_rad from the command.
    """

    activity: str
    reference: str
    max_age_s: float
    reference_error_rad: float


def watched(drive: Drive) -> Watched:
    """A controller of ros2_control, or a bridge of ours, which is one to the executor."""
    if isinstance(drive, RealRobot):
        watch = drive.watch
        reference = watch.controller_state if drive.output == TRAJECTORY_WINDOW else ""
        return Watched(f"{watch.controller_manager}/activity", reference, watch.max_age_s, watch.reference_error_rad)
    return Watched(ACTIVE_TOPIC, drive.reference_topic, drive.state_age_s, drive.reference_error_rad)


class ControllerWatch:
    """Last words of the controller manager, the controller and the robot. Times are int ns on the executor's clock.

    ``restarted`` is the rising edge of the controller's activity: the arm is where the controller took it over, no longer where it was
    commanded last. Only then may a start be made from the measured pose. A controller that fails, or whose clock jumped, follows nobody
    knows what: nothing is sent to it any more until such a start.
    """

    def __init__(self, drive: Drive) -> None:
        self._watch = watched(drive)
        self._reports = bool(self._watch.reference)
        self._active: bool | None = None
        self._robot_trouble = ""
        self._reference_rad: Array | None = None
        self._reference_ns: int | None = None
        self._refusing_since_ns: int | None = None
        self._in_step = False
        self.restarted = False

    def activity(self, active: bool) -> None:
        """What the controller manager says of our controller."""
        self.restarted = active and (self.restarted or not self._active)
        self._in_step = self._in_step and active
        self._active = active

    def robot(self, trouble: str) -> None:
        """What the robot says of itself: a reason to stop, such as ``robot_reflex``, empty when it is well."""
        self._robot_trouble = trouble

    def reference(self, positions_rad: Array, now_ns: int) -> None:
        """What the controller follows at present, joints in robot order."""
        self._reference_rad, self._reference_ns = positions_rad, now_ns

    def place_since(self, stamp_ns: int) -> Array | None:
        """What the controller follows, None where it has not said so since then."""
        return self._reference_rad if self._reference_ns is not None and self._reference_ns >= stamp_ns else None

    def lost_step(self) -> None:
        """Nobody knows any more what the controller follows."""
        self._in_step = False

    def started(self) -> None:
        """The executor stands where the controller does: commands lead on from there."""
        self.restarted, self._in_step = False, True
        self._refusing_since_ns = None

    @property
    def obeys(self) -> bool:
        """Commands may be sent: the controller has followed them since the last start."""
        return self._in_step

    def trouble(self, commanded_rad: Array, now_ns: int) -> str:
        """Reason to stop a running executor, empty when there is none. commanded_rad: what is meant for now."""
        found = self._robot_trouble or self._controller_trouble(commanded_rad, now_ns)
        self._in_step = self._in_step and not found
        return found

    def problem(self, commanded_rad: Array, now_ns: int) -> str:
        """Why motion must not start, in a sentence; empty when it may. commanded_rad: the last command."""
        watch = self._watch
        if self._robot_trouble:
            return f"expected a robot that can move, it reports {self._robot_trouble}; clear the cause, then call chunk_executor/recover"
        if self._active is None:
            return f"expected {watch.activity} to name our controller, it has not yet; is the driver running?"
        if not self._active:
            return "expected an active controller, it is inactive; activate it, or call chunk_executor/recover"
        age_s = self._age_s(now_ns)
        if self._reports and age_s > watch.max_age_s:
            heard = "none came" if math.isinf(age_s) else f"the last came {age_s:.2f} s ago"
            return f"expected {watch.reference} at least every {watch.max_age_s:g} s, {heard}; is the controller running?"
        if self.restarted or (self._in_step and not (self._reports and self._distance_rad(commanded_rad) > AT_REFERENCE_RAD)):
            return ""
        return "expected a controller that follows our last command, it does not; restart it (chunk_executor/recover) to start from the arm"

    def _controller_trouble(self, commanded_rad: Array, now_ns: int) -> str:
        if not self._active or not self._in_step:
            return INACTIVE
        if not self._reports:
            return ""
        if self._age_s(now_ns) > self._watch.max_age_s:
            return SILENT
        if self._distance_rad(commanded_rad) <= self._watch.reference_error_rad:
            self._refusing_since_ns = None
            return ""
        self._refusing_since_ns = now_ns if self._refusing_since_ns is None else self._refusing_since_ns
        return REFUSES if (now_ns - self._refusing_since_ns) * 1e-9 > self._watch.max_age_s else ""

    def _distance_rad(self, commanded_rad: Array) -> float:
        """From the controller's reference to the command; a reference that is not a number is infinitely far."""
        distance = math.inf if self._reference_rad is None else float(np.abs(self._reference_rad - commanded_rad).max())
        return distance if math.isfinite(distance) else math.inf

    def _age_s(self, now_ns: int) -> float:
        return math.inf if self._reference_ns is None else (now_ns - self._reference_ns) * 1e-9
