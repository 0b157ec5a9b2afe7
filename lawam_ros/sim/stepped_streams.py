"""Which streams of a simulation are due at which step of lock step, and the newest stamp of each."""

from collections.abc import Callable
from dataclasses import dataclass

from lawam_ros.contract.robot import Robot

EPISODE_NS = 1_000_000_000_000
"""Stepped time of seed s begins at s times this."""
_STATUS_PERIOD_NS = 100_000_000


@dataclass(frozen=True)
class Due:
    joints: bool
    pictures: bool
    status: bool


class SteppedStreams:
    """Streams keep their rates on the grid of executor periods. newest: resolved topic -> stamp of its newest message."""

    def __init__(self, robot: Robot, joint_states_hz: float, resolve: Callable[[str], str]) -> None:
        self._period_ns = robot.tick_period_ns
        self._joints_topic = resolve(robot.joint_states_topic)
        self._camera_topics = [resolve(camera.topic) for camera in robot.cameras]
        self._joints_every_ns = max(self._period_ns, round(1e9 / joint_states_hz))
        self._pictures_every_ns = round(1e9 / max(camera.rate_hz for camera in robot.cameras))
        self.newest: dict[str, int] = {}
        self.now_ns = 0
        self._next_joints_ns = self._next_pictures_ns = self._next_status_ns = 0

    def begin(self, start_ns: int) -> None:
        """Time jumps to ``start_ns``; everything is due there."""
        self.now_ns = self._next_joints_ns = self._next_pictures_ns = self._next_status_ns = start_ns
        self.newest = {}

    def due(self) -> Due:
        """What to publish now; called once per step."""
        due = Due(*(self.now_ns >= at for at in (self._next_joints_ns, self._next_pictures_ns, self._next_status_ns)))
        if due.joints:
            self._next_joints_ns += self._joints_every_ns
            self.newest[self._joints_topic] = self.now_ns
        if due.pictures:
            self._next_pictures_ns += self._pictures_every_ns
            self.newest.update(dict.fromkeys(self._camera_topics, self.now_ns))
        if due.status:
            self._next_status_ns += _STATUS_PERIOD_NS
        return due

    def advance(self, said: bool) -> None:
        """One period on; ``said``: something happened that the status must tell at once."""
        self.now_ns += self._period_ns
        if said:
            self._next_status_ns = self.now_ns
