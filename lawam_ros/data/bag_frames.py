"""Frames of one demonstration out of a bag, through the stream that aligns live messages too."""

from collections.abc import Iterator

from lawam_ros.contract.robot import Robot
from lawam_ros.contract.wire import BadMessage, command_from_message, joint_positions, pose_from_message
from lawam_ros.data import cdr_stamp
from lawam_ros.data.bag_cuts import Span
from lawam_ros.data.bag_reader import Bag, BagMessage
from lawam_ros.data.bag_streams import BagStreams
from lawam_ros.data.recorded_run import RecordedRun, input_stamps
from lawam_ros.observe.frame_stream import SILENT_NS, Frame, FrameStream

AHEAD_NS = 3_000_000_000
"""How far past the span frames are given, for what they tell of the last ones in it: longer than a gripper moves."""


def has_commands(streams: BagStreams, robot: Robot) -> bool:
    """Whether the recording tells what the arms were commanded."""
    return streams.reference is not None and len(streams.poses) == len(robot.arms)


class BagFrames:
    """Iterate once. ``problem``: why the frames ended before the span did, or what had to be left out; empty when all is well.

    Behind the frames of the span come those of ``AHEAD_NS``, as far as there are any.
    """

    def __init__(self, bag: Bag, streams: BagStreams, robot: Robot, run: RecordedRun, span: Span, rate_hz: float) -> None:
        """run: of the same bag; it tells from where on a long one has to be read."""
        self._since_ns = run.received_since(span[0])
        self._bag, self._streams, self._robot, self._span = bag, streams, robot, span
        self._arms = [arm.name for arm in robot.arms] if has_commands(streams, robot) else []
        self._inputs = input_stamps(streams, robot)
        self._poses = {topic.name: arm for arm, topic in streams.poses.items()} if self._arms else {}
        self._reference = streams.reference.name if streams.reference and self._arms else ""
        self._frames: FrameStream[BagMessage] = FrameStream(list(streams.cameras), self._arms, rate_hz, robot.budgets)
        self._damaged = 0

    @property
    def fault(self) -> str:
        """Why the frames ended before the span did."""
        return self._frames.fault if self._frames.tick_ns <= self._span[1] else ""

    @property
    def problem(self) -> str:
        if self.fault:
            return self.fault
        return f"{self._damaged} damaged messages" if self._damaged else ""

    def __iter__(self) -> Iterator[Frame[BagMessage]]:
        last_ns = self._span[1] + AHEAD_NS
        for message in self._bag.messages({*self._inputs, *self._poses, self._reference} - {""}, self._since_ns):
            stamp_ns = self._fed(message)
            for frame in self._frames.ready():
                if frame.observation.stamp_ns > last_ns:
                    return
                yield frame
            if self._frames.fault or (stamp_ns is not None and stamp_ns > last_ns + SILENT_NS):
                return
        self._frames.end()

    def _fed(self, message: BagMessage) -> int | None:
        """Stamp of a message, handed on unless it is from before the span."""
        start_ns, _ = self._span
        try:
            if message.topic in self._inputs:
                stream, judge = self._inputs[message.topic]
                stamp_ns = judge.take(message.raw)
                if stamp_ns is None or stamp_ns < start_ns:
                    return stamp_ns
                if stream in self._streams.cameras:
                    self._frames.image(stream, stamp_ns, message)
                else:
                    self._frames.joints(stamp_ns, joint_positions(self._bag.decode(message)))
                return stamp_ns
            stamp_ns = cdr_stamp.stamp_ns(message.raw)
            if stamp_ns >= start_ns:
                decoded = self._bag.decode(message)
                if message.topic == self._reference:
                    self._frames.openings(stamp_ns, command_from_message(decoded, self._robot).gripper_m)
                else:
                    self._frames.pose(self._poses[message.topic], stamp_ns, pose_from_message(decoded))
            return stamp_ns
        except BadMessage:
            self._damaged += 1
            return None
