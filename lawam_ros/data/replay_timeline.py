"""The inputs of a recorded run in the order in which a replay publishes them: by their stamps, not by when the recorder got them."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from lawam_ros.contract.robot import Robot
from lawam_ros.contract.wire import BadMessage
from lawam_ros.data import cdr_stamp
from lawam_ros.data.bag_reader import Bag, BagMessage
from lawam_ros.data.bag_streams import BagStreams
from lawam_ros.data.recorded_run import input_stamps

_READ_AHEAD_NS = 1_000_000_000
"""How much later than its stamp a message may have been recorded and still be published in its place."""
REFERENCE_AHEAD_NS = 200_000_000
"""Recorded commands are published so long before their instant: they answer a policy's question, nobody reacts to them."""

_COMMANDS_KEPT = 500

REFERENCE, POSE = "reference", "pose/"
"""Names of the streams of recorded commands; of poses, followed by the arm."""


class TimedMessage(NamedTuple):
    """stream: camera name, ``joint_states``, REFERENCE or POSE and the arm; stamp_ns: instant of the measurement or command."""

    stream: str
    stamp_ns: int
    raw: bytes


@dataclass(order=True)
class _Waiting:
    due_ns: int
    number: int
    message: TimedMessage = field(compare=False)


class Timeline:
    """Messages that count, one after the other, reading on as time goes on. held_back: camera and stamp -> when its frame is due."""

    def __init__(self, bag: Bag, streams: BagStreams, robot: Robot, held_back: Mapping[tuple[str, int], int]) -> None:
        self._bag, self._held_back = bag, held_back
        self._inputs = input_stamps(streams, robot)
        self._references = {topic.name: POSE + arm for arm, topic in streams.poses.items()}
        self._references |= {streams.reference.name: REFERENCE} if streams.reference else {}
        self._source: Iterator[BagMessage] = bag.messages({*self._inputs, *self._references})
        self._waiting: list[_Waiting] = []
        self._read_ns: int | None = None
        self._newest_reference_ns: dict[str, int] = {}
        self._number = 0
        self.damaged = 0
        self.ended = False

    def until(self, now_ns: int) -> list[TimedMessage]:
        """What is due by ``now_ns`` and was not given yet."""
        while not self.ended and (self._read_ns is None or self._read_ns < now_ns + _READ_AHEAD_NS):
            self._read()
        due = []
        while self._waiting and self._waiting[0].due_ns <= now_ns:
            due.append(heapq.heappop(self._waiting).message)
        return due

    def _read(self) -> None:
        message = next(self._source, None)
        if message is None:
            self.ended = True
            return
        stream, stamp_ns = self._judged(message)
        if stamp_ns is None:
            return
        try:
            self._bag.decode(message)  # what does not decode here would not there, and might end a node
        except BadMessage:
            self.damaged += 1
            return
        is_input = message.topic in self._inputs
        due_ns = self._held_back.get((stream, stamp_ns), stamp_ns) if is_input else stamp_ns - REFERENCE_AHEAD_NS
        if is_input:
            self._read_ns = stamp_ns if self._read_ns is None else max(self._read_ns, stamp_ns)
        self._number += 1
        heapq.heappush(self._waiting, _Waiting(due_ns, self._number, TimedMessage(stream, stamp_ns, message.raw)))

    def _judged(self, message: BagMessage) -> tuple[str, int | None]:
        if message.topic in self._inputs:
            stream, judge = self._inputs[message.topic]
            return stream, judge.take(message.raw)
        stream = self._references[message.topic]
        try:
            stamp_ns = cdr_stamp.stamp_ns(message.raw)
        except BadMessage:
            self.damaged += 1
            return stream, None
        if stamp_ns <= self._newest_reference_ns.get(stream, -1):
            return stream, None
        self._newest_reference_ns[stream] = stamp_ns
        return stream, stamp_ns


def newest_of(waiting: list[TimedMessage]) -> list[TimedMessage]:
    """Of what was recorded before an episode, the newest of every input, and the last commands."""
    newest = {message.stream: message for message in waiting}
    commands = [message for message in waiting if message.stream == REFERENCE or message.stream.startswith(POSE)]
    return [*(message for message in newest.values() if message not in commands), *commands[-_COMMANDS_KEPT:]]
