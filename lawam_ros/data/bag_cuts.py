"""Where the demonstrations of a recording begin and end: by marks, by the state of the executor, or by pauses of the arms."""

from collections.abc import Iterable, Sequence

from lawam_ros.contract.errors import UserMistake
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_streams import BagStreams
from lawam_ros.data.recorded_run import RecordedRun
from lawam_ros.data.replay_plan import episodes_of

AUTO, MARKS, STATUS, PAUSE, WHOLE = "auto", "marks", "status", "pause", "whole"
CUTS = (AUTO, MARKS, STATUS, PAUSE, WHOLE)
_STILL_RAD = 0.002
"""Less than this within a tenth of a second is no motion: encoders tremble."""

Span = tuple[int, int]
"""First and last instant in ns."""


def spans_of(bag: Bag, streams: BagStreams, run: RecordedRun, how: str, pause_s: float) -> list[Span]:
    """auto: marks where there are any, else the executor's activations, else the whole recording. Raises UserMistake."""
    whole = run.span_ns
    if whole is None:
        return []
    if how in (AUTO, MARKS) and streams.episodes is not None:
        marks = [(run.stamp_when(message.received_ns), bag.decode(message).data) for message in bag.messages({streams.episodes.name})]
        return marked_spans(marks, whole)
    if how == MARKS:
        raise UserMistake("--cut marks: expected the topic lawam/episode in the bag, found none; record with recorder/start_episode")
    if how == STATUS or (how == AUTO and run.statuses):
        return [(episode.start_ns, episode.end_ns) for episode in episodes_of(run)]
    if how == PAUSE:
        return moving_spans(_positions(bag, streams), whole, pause_s)
    return [whole]


def marked_spans(marks: Iterable[tuple[int, str]], whole: Span) -> list[Span]:
    """From each ``start`` to the next mark; ``discard`` drops what it ends; a start without an end lasts to the end of the recording."""
    spans: list[Span] = []
    start_ns: int | None = None
    for stamp_ns, mark in marks:
        if start_ns is not None and mark in ("end", "start"):
            spans.append((start_ns, stamp_ns))
        if mark in ("start", "end", "discard"):
            start_ns = stamp_ns if mark == "start" else None
    return spans if start_ns is None else [*spans, (start_ns, whole[1])]


def moving_spans(positions: Sequence[tuple[int, Sequence[float]]], whole: Span, pause_s: float) -> list[Span]:
    """What lies between pauses: stretches of at least ``pause_s`` in which no joint moves."""
    spans: list[Span] = []
    start_ns: int | None = None
    moved_ns = 0
    before = None
    for stamp_ns, joints in positions:
        if before is None or stamp_ns - before[0] < 100_000_000:
            before = before or (stamp_ns, joints)
            continue
        moves = max(abs(a - b) for a, b in zip(joints, before[1], strict=True)) > _STILL_RAD
        if moves:
            start_ns, moved_ns = before[0] if start_ns is None else start_ns, stamp_ns
        elif start_ns is not None and stamp_ns - moved_ns >= pause_s * 1e9:
            spans.append((start_ns, moved_ns))
            start_ns = None
        before = (stamp_ns, joints)
    if start_ns is not None:
        spans.append((start_ns, moved_ns))
    return [(max(low, whole[0]), min(high, whole[1])) for low, high in spans if low < whole[1] and high > whole[0]]


def _positions(bag: Bag, streams: BagStreams) -> list[tuple[int, Sequence[float]]]:
    assert streams.joint_states is not None
    found: list[tuple[int, Sequence[float]]] = []
    for message in bag.messages({streams.joint_states.name}):
        decoded = bag.decode(message)
        stamp_ns = int(decoded.header.stamp.sec) * 1_000_000_000 + int(decoded.header.stamp.nanosec)
        if not found or (stamp_ns > found[-1][0] and len(decoded.position) == len(found[-1][1])):
            found.append((stamp_ns, [float(value) for value in decoded.position]))
    return found
