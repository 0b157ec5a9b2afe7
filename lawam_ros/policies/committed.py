"""The part of the last chunk that a new one has to continue, and how late a new one will be."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.rotations import quat_slerp
from lawam_ros.contract.task import PolicyContract
from lawam_ros.policies.interface import Reference, Targets

Array = NDArray[np.float64]

_ROW = ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper")


@dataclass(frozen=True)
class Committed:
    """What will have been executed by the time a chunk is ready, and what was planned after it, on the steps of the new chunk.

    rows: arm -> (m, 8) absolute targets ``x y z qx qy qz qw gripper``, m >= 1. delay_steps: how many of them will have been executed.
    reference: the commanded rows at the observation's time.
    """

    rows: Mapping[str, Array]
    delay_steps: int
    reference: Reference


@dataclass(frozen=True)
class StepGrid:
    """Steps of a chunk: action i is meant for (i + offset_steps) * step_s after the observation, 0 <= i < steps."""

    steps: int
    step_s: float
    offset_steps: int

    @property
    def times_s(self) -> Array:
        return np.asarray((np.arange(self.steps) + self.offset_steps) * self.step_s, dtype=float)


class ExecutorWord(Protocol):
    """What of the executor's status decides whether a chunk runs; None or 0 before anything was accepted or judged."""

    @property
    def state(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    @property
    def accepted_sequence(self) -> int | None: ...

    @property
    def judged_stamp_ns(self) -> int | None: ...


def runs(last: ActionChunk, word: ExecutorWord) -> bool:
    """Whether the arm follows ``last``, or will as soon as it is judged: a policy that is slower than its replan period looks again before.

    No longer once it was refused, the epoch has changed or the arm has left RUN.
    """
    if word.state != "RUN" or word.epoch != last.epoch:
        return False
    return word.accepted_sequence == last.sequence or (word.judged_stamp_ns or 0) < last.stamp_ns


def committed_of(last: ActionChunk, stamp_ns: int, delay_s: float, policy: PolicyContract, reference: Reference) -> Committed | None:
    """The part of ``last`` that a chunk observed at ``stamp_ns`` has to continue; see :func:`committed_part`."""
    targets = Targets(last.components, last.values, last.time_from_start_s)
    grid = StepGrid(policy.steps, 1.0 / policy.action_hz, policy.action_offset_steps)
    return committed_part(targets, (stamp_ns - last.stamp_ns) * 1e-9, delay_s, grid, reference)


def delay_steps(delay_s: float, step_s: float) -> int:
    """Whole steps that have begun by then."""
    return math.ceil(delay_s / step_s - 1e-9)


def committed_part(last: Targets, age_s: float, delay_s: float, grid: StepGrid, reference: Reference) -> Committed | None:
    """``last`` on the steps of a chunk observed ``age_s`` after it, as far as it reaches; None when nothing of it is left.

    delay_s: from the new observation to the use of its chunk. Positions between two points are linear, rotations by slerp, openings those
    of the point before.
    """
    times = grid.times_s + age_s
    times = times[times <= last.time_from_start_s[-1] + 1e-9]
    if not len(times):
        return None
    rows = {arm: rows_at(last, arm, np.maximum(times, last.time_from_start_s[0])) for arm in reference}
    return Committed(rows, min(len(times), delay_steps(delay_s, grid.step_s)), reference)


def rows_at(targets: Targets, arm: str, times_s: Array) -> Array:
    """Absolute rows (M, 8) of an arm at instants (M,) that the targets cover, between their points as in :func:`committed_part`.

    Points may share an instant, as frames of a recording do whose camera stands still.
    """
    columns = targets.values[:, [targets.components.index(f"{arm}/{name}") for name in _ROW]]
    grid = targets.time_from_start_s
    after = np.clip(np.searchsorted(grid, times_s, side="right"), 1, len(grid) - 1) if len(grid) > 1 else np.zeros(len(times_s), int)
    before = np.maximum(after - 1, 0)
    span = np.where(grid[after] > grid[before], grid[after] - grid[before], 1.0)
    part = np.clip((times_s - grid[before]) / span, 0.0, 1.0)
    result = columns[before].copy()
    result[:, :3] += part[:, None] * (columns[after, :3] - columns[before, :3])
    result[:, 3:7] = quat_slerp(columns[before, 3:7], columns[after, 3:7], part)
    result[:, 7] = np.where(part >= 1.0, columns[after, 7], columns[before, 7])
    return result


class DelayEstimate:
    """How long from an observation to the use of its chunk: up at once, down slowly; the first delay after a start is no measure."""

    def __init__(self, window: int = 20) -> None:
        self._recent: deque[float] = deque(maxlen=window)
        self._cold = True

    def add(self, delay_s: float) -> None:
        """A chunk was made, expected to be used that long after its observation."""
        if self._cold:
            self._cold = False
            return
        self._recent.append(delay_s)

    def correct(self, delay_s: float) -> None:
        """What the chunk added last really took."""
        if self._recent:
            self._recent[-1] = delay_s

    @property
    def delay_s(self) -> float | None:
        """The largest of the recent delays, None before there is one."""
        return max(self._recent, default=None)
