"""Recorded time by the wall clock: what is shown while it stands, and that nothing of the recording is left out when it begins."""

import pytest

pytest.importorskip("rclpy", reason="ROS 2 messages are not installed")

from lawam_ros.data.replay_timeline import REFERENCE, TimedMessage
from lawam_ros.nodes.playback import WallPlayback

MS = 1_000_000
START_NS, NOW_NS = 5_000 * MS, 900_000 * MS
FIRST = [
    TimedMessage("joint_states", START_NS - 8 * MS, b"old"),
    TimedMessage("joint_states", START_NS, b"joints"),
    TimedMessage("front", START_NS - 30 * MS, b"frame"),
    TimedMessage(REFERENCE, START_NS, b"command at the start"),
    TimedMessage(REFERENCE, START_NS + 4 * MS, b"next command"),
    TimedMessage(REFERENCE, START_NS + 8 * MS, b"the one after"),
]
"""Due at the start of an episode: commands are published ahead of their instants."""


class Wall:
    """A playback at twice the speed, what it published, and ROS time."""

    def __init__(self) -> None:
        self.now_ns = NOW_NS
        self.sent: list[tuple[bytes, int]] = []
        self.playback = WallPlayback(self._publish, 2.0, 0, lambda: self.now_ns)

    def _publish(self, message: TimedMessage, stamp_ns: int) -> str:
        self.sent.append((message.raw, stamp_ns))
        return message.stream


def test_while_time_stands_the_state_at_the_start_is_said_with_the_present_time():
    wall = Wall()
    for wall.now_ns in (NOW_NS, NOW_NS + 4 * MS):
        wall.playback.stand(START_NS, FIRST)
    shown = [b"joints", b"frame", b"command at the start"]
    assert wall.sent == [(raw, stamp_ns) for stamp_ns in (NOW_NS, NOW_NS + 4 * MS) for raw in shown]


def test_commands_of_the_first_instants_follow_when_time_begins():
    wall = Wall()
    wall.playback.begin(START_NS, FIRST)
    assert wall.sent == [(b"next command", NOW_NS + 2 * MS), (b"the one after", NOW_NS + 4 * MS)], "at twice the speed"
    assert wall.playback.recorded(NOW_NS + 4 * MS) == START_NS + 8 * MS
