"""The owner of time in lock step: publishes a step and waits until everybody has answered it."""

import threading
import time
from collections.abc import Callable, Mapping

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.errors import LawamError
from lawam_ros.control.lock_step import TimeGate
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.lock_step import OBSERVED_TOPIC, REPEAT_S, STEP_TOPIC, step_to_message
from lawam_ros.nodes.status import ExecutorStatus, status_from_message


class TimeOwner:
    """One per graph. Answers come in through ``inputs``, a node spun in a thread of its own; steps go out from the caller's thread."""

    def __init__(self, node: Node, inputs: Node, latency_ns: int, period_ns: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._gate = TimeGate(latency_ns, period_ns)
        self._heard = threading.Condition()
        self.status: ExecutorStatus | None = None
        self.reference: JointTrajectory | None = None
        self._clock = node.create_publisher(Clock, "/clock", qos.STEPPED)
        self._steps = node.create_publisher(DiagnosticArray, STEP_TOPIC, qos.STEPPED)
        inputs.create_subscription(JointTrajectory, "lawam/reference", self._on_reference, qos.STEPPED_REFERENCE)
        inputs.create_subscription(DiagnosticArray, "lawam/status", self._on_status, qos.STEPPED_STATUS)
        inputs.create_subscription(Header, OBSERVED_TOPIC, self._on_observed, qos.STEPPED)

    @property
    def active(self) -> bool:
        """Whether time may move: the executor is in any state but INACTIVE."""
        return self.status is not None and self.status.state != "INACTIVE"

    def frame(self, stamp_ns: int, observation_ns: int | None = None) -> None:
        """A primary frame of this stamp is about to be published. observation_ns: see ``TimeGate.frame``."""
        with self._heard:
            self._gate.frame(stamp_ns, observation_ns)

    def forget(self) -> None:
        """A new episode begins."""
        with self._heard:
            self._gate.forget()

    def step(self, stamp_ns: int, newest: Mapping[str, int], again: Callable[[], None], running: threading.Event) -> None:
        """Announce a step and wait for its answers, or until ``running`` is cleared.

        newest: resolved topic -> stamp of the newest message so far. again: publishes the step's messages once more, for whoever missed
        them. Raises LawamError naming who did not answer in time while the executor is active.
        """
        deadline_s = time.monotonic() + self._timeout_s
        self._announce(stamp_ns, newest)
        with self._heard:
            while running.is_set() and (missing := self._gate.missing(stamp_ns)):
                if self._heard.wait(timeout=REPEAT_S):
                    continue
                # Before it is active, whoever starts up may take its time.
                if self.active and time.monotonic() > deadline_s:
                    raise LawamError(f"lock step stood still for {self._timeout_s:g} s, no answer from {'; '.join(missing)}")
                again()
                self._announce(stamp_ns, newest)

    def stand(self, stamp_ns: int, newest: Mapping[str, int], again: Callable[[], None]) -> None:
        """One round of standing still: say the same again after a while, or at once when somebody speaks."""
        with self._heard:
            if not self._heard.wait(timeout=REPEAT_S):
                again()
                self._announce(stamp_ns, newest)

    def _announce(self, stamp_ns: int, newest: Mapping[str, int]) -> None:
        self._clock.publish(Clock(clock=messages.stamp(stamp_ns)))
        self._steps.publish(step_to_message(stamp_ns, newest))

    def _on_reference(self, message: JointTrajectory) -> None:
        with self._heard:
            self.reference = message
            self._gate.reference(messages.nanoseconds(message.header.stamp))
            self._heard.notify_all()

    def _on_status(self, message: DiagnosticArray) -> None:
        try:
            status = status_from_message(message)
        except messages.BadMessage:
            return
        with self._heard:
            self.status = status
            self._gate.status(status.stamp_ns, status.judged_stamp_ns or -1)
            self._heard.notify_all()

    def _on_observed(self, message: Header) -> None:
        with self._heard:
            self._gate.observed(messages.nanoseconds(message.stamp), message.frame_id)
            self._heard.notify_all()
