"""What a replay has to do and when, worked out from a recorded run: episodes, what the operator did, and the looks of the policy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.wire import ExecutorStatus
from lawam_ros.data.recorded_run import JOINT_STATES, RecordedRun

MAX_GAP_NS = 5_000_000_000
"""Without any input for longer, an episode ends: every executor has stopped by then."""
GAP_NS = 300_000_000
"""Silence of one stream that is told."""
HOLD, STOP, RESET, ESTOP, INSTRUCTION = "hold", "stop", "reset", "estop", "instruction"


@dataclass(frozen=True)
class OperatorEvent:
    """Something the operator did before the tick at ``stamp_ns``. text: of an instruction."""

    stamp_ns: int
    kind: str
    text: str = ""


@dataclass(frozen=True)
class Episode:
    """From the activation of the executor to its deactivation, or the end of what was recorded. holds, stops: when and why."""

    start_ns: int
    end_ns: int
    instruction: str
    events: tuple[OperatorEvent, ...]
    holds: tuple[tuple[int, str], ...]
    stops: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Look:
    """frame_ns: instant of the primary frame with which the recorded policy had everything of observation_ns; due_ns: when the last of it
    was there; used_ns: first command that came of it, None where its chunk was not taken."""

    frame_ns: int
    observation_ns: int
    due_ns: int
    used_ns: int | None


def episodes_of(run: RecordedRun) -> list[Episode]:
    """Empty where the inputs are incomplete. A recording without statuses (other software) is one episode."""
    span = run.span_ns
    if span is None:
        return []
    spans = [(max(start, span[0]), min(end, span[1])) for start, end in (_active_spans(run.statuses) or [span])]
    pieces = [piece for start, end in spans if start < end for piece in _without_gaps(run, start, end)]
    return [_episode(run.statuses, start, end) for start, end in pieces]


def looks_of(run: RecordedRun, primary: str) -> list[Look]:
    """One per recorded chunk whose observation is in the recording.

    In real time a policy looks when everything of an observation has come; in lock step, with the frame itself.
    """
    frames = run.stamps.get(primary, np.zeros(0, dtype=np.int64))
    cameras = [stamps for name, stamps in run.stamps.items() if name != JOINT_STATES]
    uses = first_uses(run.chunks, run.statuses)
    looks = []
    for observation_ns in sorted({chunk.stamp_ns for chunk in run.chunks}):
        after = [int(np.searchsorted(stamps, observation_ns)) for stamps in run.stamps.values()]
        if any(index == len(stamps) for index, stamps in zip(after, run.stamps.values(), strict=True)):
            continue  # the recording ended before all of it was there
        frame_ns = int(frames[np.searchsorted(frames, observation_ns)])
        if run.info.get("lockstep") and any(int(stamps[np.searchsorted(stamps, observation_ns)]) > frame_ns for stamps in cameras):
            continue  # the recording lost an image: the policy would answer of another instant, and time would wait for this one
        all_there_ns = max(int(stamps[index]) for index, stamps in zip(after, run.stamps.values(), strict=True))
        due_ns = frame_ns if run.info.get("lockstep") else all_there_ns
        looks.append(Look(frame_ns, observation_ns, due_ns, uses.get(observation_ns)))
    return looks


def gaps_of(run: RecordedRun, episodes: Sequence[Episode]) -> list[str]:
    """Silences of single streams within an episode, in words: what was not recorded cannot be replayed."""
    found = []
    for name, stamps in run.stamps.items():
        within = [stamps[(stamps >= e.start_ns) & (stamps <= e.end_ns)] for e in episodes]
        silences = [int(np.diff(part).max()) for part in within if len(part) > 1]
        if silences and max(silences) > GAP_NS:
            found.append(f"{name}: nothing for {max(silences) * 1e-9:.2f} s within an episode")
    return found


def first_uses(chunks: Iterable[ActionChunk], statuses: Iterable[ExecutorStatus]) -> dict[int, int]:
    """Stamp of an observation -> stamp of the first command that came of its chunk, for the chunks that were taken."""
    told: dict[tuple[int, int], int] = {}
    for status in statuses:
        told.setdefault((status.epoch, status.accepted_sequence), status.stamp_ns)
    keys = {chunk.stamp_ns: (chunk.epoch, chunk.sequence) for chunk in chunks}
    return {stamp_ns: told[key] for stamp_ns, key in keys.items() if key in told}


def holds_of(statuses: Iterable[ExecutorStatus]) -> list[tuple[int, str]]:
    """When and why the executor held: one entry per reason it went on to, the waiting for a first chunk left out."""
    holds: list[tuple[int, str]] = []
    before = ("HOLD", "waiting_for_chunk")
    for status in statuses:
        now = (status.state, status.reason)
        if status.state == "HOLD" and now != before:
            holds.append((status.stamp_ns, status.reason))
        before = now
    return holds


def stops_of(statuses: Iterable[ExecutorStatus]) -> list[tuple[int, str]]:
    """When and why the executor stopped or latched: one entry per stop."""
    stops: list[tuple[int, str]] = []
    stopped = False
    for status in statuses:
        if status.state in ("STOP", "LATCHED") and not stopped:
            stops.append((status.stamp_ns, status.reason))
        stopped = status.state in ("STOP", "LATCHED")
    return stops


def _active_spans(statuses: Sequence[ExecutorStatus]) -> list[tuple[int, int]]:
    """Stamps of the first active status and of the first one of the deactivation, for every activation."""
    spans: list[tuple[int, int]] = []
    start_ns: int | None = None
    for status in statuses:
        ending = status.state == "INACTIVE" or status.reason == "deactivating"
        if start_ns is None and not ending:
            start_ns = status.stamp_ns
        elif start_ns is not None and ending:
            spans.append((start_ns, status.stamp_ns))
            start_ns = None
    return spans if start_ns is None or not statuses else [*spans, (start_ns, statuses[-1].stamp_ns)]


def _without_gaps(run: RecordedRun, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    stamps = np.unique(np.concatenate(list(run.stamps.values())))
    stamps = np.concatenate([[start_ns], stamps[(stamps > start_ns) & (stamps < end_ns)], [end_ns]])
    cuts = np.flatnonzero(np.diff(stamps) > MAX_GAP_NS)
    edges = [(int(stamps[cut]), _all_there_ns(run, int(stamps[cut + 1]), end_ns)) for cut in cuts]
    bounds = [start_ns, *(instant for edge in edges for instant in edge), end_ns]
    return [(low, high) for low, high in zip(bounds[::2], bounds[1::2], strict=True) if low < high]


def _all_there_ns(run: RecordedRun, since_ns: int, end_ns: int) -> int:
    """From when on every stream has something of ``since_ns`` or later: what is older starts no executor. ``end_ns`` where one has not."""
    later = [stamps[stamps >= since_ns] for stamps in run.stamps.values()]
    return max(int(stamps[0]) if len(stamps) else end_ns for stamps in later)


def _episode(statuses: Sequence[ExecutorStatus], start_ns: int, end_ns: int) -> Episode:
    within = [status for status in statuses if start_ns <= status.stamp_ns <= end_ns and status.state != "INACTIVE"]
    if within and within[-1].reason == "deactivating":
        within = [status for status in within if status.reason != "deactivating"]
    instruction = within[0].instruction if within else ""
    return Episode(start_ns, end_ns, instruction, tuple(_events(within)), tuple(holds_of(within)), tuple(stops_of(within)))


def _events(statuses: Sequence[ExecutorStatus]) -> list[OperatorEvent]:
    events = []
    for before, now in zip(statuses, statuses[1:], strict=False):
        # A state that is told after a tick, with the stamp of that tick, shows in the next one.
        stamp_ns = now.stamp_ns + int(before.stamp_ns == now.stamp_ns)
        stopped = now.state in ("STOP", "LATCHED")
        if now.instruction != before.instruction:
            events.append(OperatorEvent(stamp_ns, INSTRUCTION, now.instruction))
        if stopped and before.state not in ("STOP", "LATCHED") and now.reason in ("requested", "estop"):
            events.append(OperatorEvent(stamp_ns, ESTOP if now.reason == "estop" else STOP))
        elif now.state == "HOLD" and now.reason == "requested" and before.reason != "requested":
            events.append(OperatorEvent(stamp_ns, HOLD))
        was_held = before.state == "LATCHED" or (before.state == "HOLD" and before.reason == "requested")
        if was_held and now.epoch > before.epoch and not stopped:
            events.append(OperatorEvent(stamp_ns, RESET))
    return events
