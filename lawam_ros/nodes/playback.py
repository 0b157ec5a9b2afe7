"""The two ways to let recorded time pass: in lock step with the nodes that are driven, or by the wall clock."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from trajectory_msgs.msg import JointTrajectory

from lawam_ros.data.replay_plan import Look
from lawam_ros.data.replay_timeline import TimedMessage
from lawam_ros.nodes.time_owner import TimeOwner

Publish = Callable[[TimedMessage, int], str]
"""Publishes a message with a stamp of its own, and gives the resolved name of the topic."""


class Playback(Protocol):
    """Stamps are int ns of the recording."""

    def stand(self, now_ns: int, messages: list[TimedMessage]) -> None:
        """One round at the start of an episode, while the executor is activated: time stands."""

    def wait(self) -> None:
        """One round of waiting for somebody within an episode; in lock step time stands meanwhile."""

    def begin(self, now_ns: int, messages: list[TimedMessage]) -> None:
        """The executor is active: time starts to pass at ``now_ns``. messages: those of ``stand``, commands of later instants included."""

    def go(self, now_ns: int, messages: list[TimedMessage]) -> None:
        """Publish what is due at ``now_ns``; returns when time may go on."""

    def published(self, stamp_ns: int) -> int:
        """The stamp with which something of this instant is published."""

    @property
    def reference(self) -> JointTrajectory | None:
        """What the executor commanded at the newest step; None where commands are heard at their own pace."""


class SteppedPlayback:
    """Everybody is waited for. throttle: share of the time at which steps could follow each other, 1 for no waiting.

    cameras: of the policy, the primary one first. looks: instant of a primary frame -> what the recorded policy looked at with it; without
    a look, a policy that infers does so on what its slowest camera has shown.
    """

    def __init__(
        self,
        owner: TimeOwner,
        publish: Publish,
        cameras: Sequence[str],
        looks: Mapping[int, Look],
        throttle: float,
        running: threading.Event,
    ) -> None:
        self._owner, self._publish, self._primary, self._looks = owner, publish, cameras[0], looks
        self._shown_ns = dict.fromkeys(cameras, 0)
        self._throttle, self._running = throttle, running
        self._newest: dict[str, int] = {}
        self._step_ns: int | None = None
        self._messages: list[TimedMessage] = []

    def stand(self, now_ns: int, messages: list[TimedMessage]) -> None:
        if self._step_ns == now_ns:
            self.wait()
            return
        self._owner.forget()
        self._newest = {}
        self._step(now_ns, messages)

    def wait(self) -> None:
        assert self._step_ns is not None
        self._owner.stand(self._step_ns, self._newest, self._publish_all)

    def begin(self, now_ns: int, messages: list[TimedMessage]) -> None:
        """Time goes on from where it stood."""

    def go(self, now_ns: int, messages: list[TimedMessage]) -> None:
        started_s = time.monotonic()
        self._step(now_ns, messages)
        if self._throttle < 1.0:
            time.sleep((1.0 / self._throttle - 1.0) * (time.monotonic() - started_s))

    def published(self, stamp_ns: int) -> int:
        return stamp_ns

    @property
    def reference(self) -> JointTrajectory | None:
        return self._owner.reference

    def _step(self, now_ns: int, messages: list[TimedMessage]) -> None:
        self._step_ns, self._messages = now_ns, messages
        self._shown_ns |= {message.stream: message.stamp_ns for message in messages if message.stream in self._shown_ns}
        for message in messages:
            if message.stream == self._primary:
                look = self._looks.get(message.stamp_ns)
                self._owner.frame(message.stamp_ns, min(self._shown_ns.values()) if look is None else look.observation_ns)
        self._publish_all()
        self._owner.step(now_ns, self._newest, self._publish_all, self._running)

    def _publish_all(self) -> None:
        for message in self._messages:
            self._newest[self._publish(message, message.stamp_ns)] = message.stamp_ns


class WallPlayback:
    """At ``rate`` times the recorded speed, stamped with the time at which it is published. ros_now_ns: the clock of stamps."""

    def __init__(self, publish: Publish, rate: float, period_ns: int, ros_now_ns: Callable[[], int]) -> None:
        self._publish, self._rate, self._ros_now_ns = publish, rate, ros_now_ns
        self._period_s = period_ns * 1e-9
        self._from_ns = self._to_ns = 0
        self._started_s = 0.0
        self.reference: JointTrajectory | None = None

    def stand(self, now_ns: int, messages: list[TimedMessage]) -> None:
        self._from_ns, self._to_ns = now_ns, self._ros_now_ns()
        newest = {message.stream: message for message in messages if message.stamp_ns <= now_ns}
        for message in newest.values():
            self._publish(message, self._to_ns)
        time.sleep(self._period_s)

    def wait(self) -> None:
        time.sleep(self._period_s)

    def begin(self, now_ns: int, messages: list[TimedMessage]) -> None:
        self._from_ns, self._to_ns, self._started_s = now_ns, self._ros_now_ns(), time.monotonic()
        for message in messages:
            if message.stamp_ns > now_ns:
                self._publish(message, self.published(message.stamp_ns))

    def go(self, now_ns: int, messages: list[TimedMessage]) -> None:
        late_s = time.monotonic() - self._started_s - (now_ns - self._from_ns) * 1e-9 / self._rate
        if late_s < 0.0:
            time.sleep(-late_s)
        for message in messages:
            self._publish(message, self.published(message.stamp_ns))

    def published(self, stamp_ns: int) -> int:
        return self._to_ns + round((stamp_ns - self._from_ns) / self._rate)

    def recorded(self, stamp_ns: int) -> int:
        """The instant of the recording that was published with this stamp."""
        return self._from_ns + round((stamp_ns - self._to_ns) * self._rate)
