"""A recorded run as records: what went into the nodes and when, what they made of it, and what is wrong with the recording."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import ActionChunk, JointCommand
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.wire import (
    BadMessage,
    ExecutorStatus,
    chunk_from_message,
    command_from_message,
    status_from_message,
    values_by_key,
)
from lawam_ros.data import cdr_stamp
from lawam_ros.data.bag_reader import Bag, BagMessage, Topic
from lawam_ros.data.bag_streams import BagStreams

JOINT_STATES = "joint_states"
_BACK_NS = 500_000_000
_LATE_NS = 2_000_000_000
"""How much later than images of the same instant joint states may have been recorded."""


@dataclass(frozen=True)
class RecordedRun:
    """All stamps in ns of ROS time.

    info: content of lawam/run_info, empty where the bag has none. stamps: input stream (camera names, JOINT_STATES) -> instants measured
    at (camera latencies subtracted), rising. commands: set-points while the executor was active. chunk_ms: median time of an inference, as
    the policy reported it. problems: in words. joints_received_ns: when the joint states of ``stamps`` were received, by the recorder's
    clock, which in lock step is not that of the stamps.
    """

    info: Mapping[str, Any]
    stamps: Mapping[str, NDArray[np.int64]]
    chunks: tuple[ActionChunk, ...]
    commands: tuple[JointCommand, ...]
    statuses: tuple[ExecutorStatus, ...]
    chunk_ms: float | None
    problems: tuple[str, ...]
    joints_received_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """From the first instant at which every stream had been there to the last one of any."""
        if not self.stamps or any(not len(stamps) for stamps in self.stamps.values()):
            return None
        return max(int(s[0]) for s in self.stamps.values()), max(int(s[-1]) for s in self.stamps.values())

    def instruction(self, start_ns: int, end_ns: int) -> str:
        """The first one that the executor told between two instants, empty where it told none."""
        return next((s.instruction for s in self.statuses if start_ns <= s.stamp_ns <= end_ns and s.instruction), "")

    def stamp_when(self, received_ns: int) -> int:
        """Instant of the newest joint states received by then, 0 before the first: what has no stamp of its own happened there."""
        later = np.flatnonzero(self.joints_received_ns > received_ns)
        count = int(later[0]) if len(later) else len(self.joints_received_ns)
        return int(self.stamps[JOINT_STATES][count - 1]) if count else 0

    def received_since(self, stamp_ns: int) -> int | None:
        """Nothing of this instant or later was received before, None where that is not known."""
        first = int(np.searchsorted(self.stamps[JOINT_STATES], stamp_ns))
        return int(self.joints_received_ns[first:].min()) - _LATE_NS if first < len(self.joints_received_ns) else None


class InputStamps:
    """Judges the messages of one stream in the order of their receipt, as the nodes do: what is not newer than the last one is left out."""

    def __init__(self, name: str, latency_ns: int) -> None:
        self._name, self._latency_ns = name, latency_ns
        self._newest_ns: int | None = None
        self.stamps: list[int] = []
        self.found: Counter[str] = Counter()
        self._back_ns = 0

    def take(self, raw: bytes) -> int | None:
        """Instant of the measurement of a message that counts, else None."""
        try:
            stamp_ns = cdr_stamp.stamp_ns(raw) - self._latency_ns
        except BadMessage:
            self.found["damaged"] += 1
            return None
        if self._newest_ns is not None and stamp_ns <= self._newest_ns:
            self._back_ns = max(self._back_ns, self._newest_ns - stamp_ns)
            self.found["repeated" if stamp_ns == self._newest_ns else "out of order"] += 1
            return None
        self._newest_ns = stamp_ns
        self.stamps.append(stamp_ns)
        return stamp_ns

    def problems(self) -> Iterator[str]:
        """Repetitions are no problem: lock step says again what is not answered."""
        if self.found["damaged"]:
            yield f"{self._name}: {self.found['damaged']} damaged messages left out"
        if self._back_ns > _BACK_NS:
            yield (
                f"{self._name}: time goes back by {self._back_ns * 1e-9:.1f} s (a recording played in a loop, or a clock set back); "
                f"{self.found['out of order']} messages from then on left out"
            )
        elif self.found["out of order"]:
            yield f"{self._name}: {self.found['out of order']} messages stamped before the one before left out"


def input_stamps(streams: BagStreams, robot: Robot) -> dict[str, tuple[str, InputStamps]]:
    """Topic in the bag -> name of the stream and its judge, for what goes into a policy."""
    found = {topic.name: (name, InputStamps(f"camera {name}", _latency_ns(robot, name))) for name, topic in streams.cameras.items()}
    if streams.joint_states:
        found[streams.joint_states.name] = (JOINT_STATES, InputStamps("joint states", 0))
    return found


def read_run(bag: Bag, streams: BagStreams, robot: Robot) -> RecordedRun:
    """One pass over the bag; images are not decoded."""
    inputs = input_stamps(streams, robot)
    chunks: dict[tuple[int, int], ActionChunk] = {}
    commands: dict[int, JointCommand] = {}
    statuses: dict[tuple[int, str, str, int, str], ExecutorStatus] = {}
    info: dict[str, Any] = {}
    chunk_ms: list[float] = []
    joints_received_ns: list[int] = []
    bad: Counter[str] = Counter()
    set_points = streams.command or streams.reference
    wanted = [streams.chunks, set_points, streams.status, streams.run_info, streams.diagnostics]
    for message in bag.messages({*inputs, *(topic.name for topic in wanted if topic)}):
        if message.topic in inputs:
            stream, judge = inputs[message.topic]
            if judge.take(message.raw) is not None and stream == JOINT_STATES:
                joints_received_ns.append(message.received_ns)
            continue
        try:
            if _is(message, streams.chunks):
                chunk = chunk_from_message(bag.decode(message))
                chunks.setdefault((chunk.epoch, chunk.sequence), chunk)
            elif _is(message, set_points):
                command = command_from_message(bag.decode(message), robot)
                commands.setdefault(command.stamp_ns, command)
            elif _is(message, streams.status):
                status = status_from_message(bag.decode(message))
                key = (status.stamp_ns, status.state, status.reason, status.epoch, status.instruction)
                statuses.setdefault(key, status)
            elif _is(message, streams.run_info):
                info = dict(json.loads(bag.decode(message).data))
            else:
                chunk_ms += _chunk_ms(bag.decode(message))
        except (BadMessage, ValueError):
            bad[message.topic] += 1
    problems = [*bag.problems, *(problem for _, judge in inputs.values() for problem in judge.problems())]
    problems += [f"{topic}: {count} damaged messages left out" for topic, count in bad.items()]
    return RecordedRun(
        info=info,
        stamps={name: np.array(judge.stamps, dtype=np.int64) for name, judge in inputs.values()},
        chunks=tuple(sorted(chunks.values(), key=lambda chunk: chunk.stamp_ns)),
        commands=tuple(commands[stamp] for stamp in sorted(commands)),
        statuses=tuple(sorted(statuses.values(), key=lambda status: status.stamp_ns)),
        chunk_ms=chunk_ms[-1] if chunk_ms else None,
        problems=tuple(problems),
        joints_received_ns=np.array(joints_received_ns, dtype=np.int64),
    )


def _latency_ns(robot: Robot, camera: str) -> int:
    return round(robot.camera(camera).latency_s * 1e9)


def _is(message: BagMessage, topic: Topic | None) -> bool:
    return topic is not None and message.topic == topic.name


def _chunk_ms(diagnostics: Any) -> list[float]:
    values = [values_by_key(status).get("chunk_ms_p50") for status in diagnostics.status if status.name == "policy"]
    return [float(value) for value in values if value is not None]
