"""Which streams of a simulation are due at which step of lock step, and the newest stamp of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lawam_ros.contract.robot import Robot
from lawam_ros.sim.losses import JOINT_STATES, Loss, is_lost

EPISODE_NS = 1_000_000_000_000
"""Stepped time of seed s begins at s times this."""
_STATUS_PERIOD_NS = 100_000_000


@dataclass(frozen=True)
class Due:
    """cameras: those whose pictures are due."""

    joints: bool
    cameras: tuple[str, ...]
    status: bool

    @property
    def pictures(self) -> bool:
        return bool(self.cameras)


class SteppedStreams:
    """Streams keep their rates on the grid of executor periods. newest: resolved topic -> stamp of its newest message.

    losses: what is left out, and waited for by nobody.
    """

    def __init__(self, robot: Robot, joint_states_hz: float, resolve: Callable[[str], str], losses: Sequence[Loss] = ()) -> None:
        self._period_ns = robot.tick_period_ns
        self._joints_topic = resolve(robot.joint_states_topic)
        self._camera_topics = {camera.name: resolve(camera.topic) for camera in robot.cameras}
        self._losses = losses
        self._joints_every_ns = max(self._period_ns, round(1e9 / joint_states_hz))
        self._pictures_every_ns = round(1e9 / max(camera.rate_hz for camera in robot.cameras))
        self.newest: dict[str, int] = {}
        self.now_ns = self._start_ns = 0
        self._next_joints_ns = self._next_pictures_ns = self._next_status_ns = 0

    def begin(self, start_ns: int) -> None:
        """Time jumps to ``start_ns``; everything is due there."""
        self.now_ns = self._start_ns = self._next_joints_ns = self._next_pictures_ns = self._next_status_ns = start_ns
        self.newest = {}

    def due(self) -> Due:
        """What to publish now; called once per step."""
        joints, pictures, status = (self.now_ns >= at for at in (self._next_joints_ns, self._next_pictures_ns, self._next_status_ns))
        self._next_joints_ns += self._joints_every_ns * joints
        self._next_pictures_ns += self._pictures_every_ns * pictures
        self._next_status_ns += _STATUS_PERIOD_NS * status
        time_s = (self.now_ns - self._start_ns) * 1e-9
        sent = {name: topic for name, topic in self._camera_topics.items() if pictures and not is_lost(self._losses, name, time_s)}
        joints = joints and not is_lost(self._losses, JOINT_STATES, time_s)
        self.newest.update(dict.fromkeys([*sent.values(), *([self._joints_topic] if joints else [])], self.now_ns))
        return Due(joints, tuple(sent), status)

    def advance(self, said: bool) -> None:
        """One period on; ``said``: something happened that the status must tell at once."""
        self.now_ns += self._period_ns
        if said:
            self._next_status_ns = self.now_ns
