"""The part of the last chunk that a new one has to continue, and how late a new one will be."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.rotations import quat_slerp
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


def committed_part(last: Targets, age_s: float, delay_s: float, grid: StepGrid, reference: Reference) -> Committed | None:
    """``last`` on the steps of a chunk observed ``age_s`` after it, as far as it reaches; None when nothing of it is left.

    delay_s: from the new observation to the use of its chunk. Positions between two points are linear, rotations by slerp, openings those
    of the point before.
    """
    times = grid.times_s + age_s
    times = times[times <= last.time_from_start_s[-1] + 1e-9]
    if not len(times):
        return None
    rows = {arm: _rows_at(last, arm, np.maximum(times, last.time_from_start_s[0])) for arm in reference}
    return Committed(rows, min(len(times), math.ceil(delay_s / grid.step_s - 1e-9)), reference)


def _rows_at(targets: Targets, arm: str, times_s: Array) -> Array:
    columns = targets.values[:, [targets.components.index(f"{arm}/{name}") for name in _ROW]]
    grid = targets.time_from_start_s
    after = np.clip(np.searchsorted(grid, times_s, side="right"), 1, len(grid) - 1) if len(grid) > 1 else np.zeros(len(times_s), int)
    before = np.maximum(after - 1, 0)
    span = np.where(after > before, grid[after] - grid[before], 1.0)
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
        if self._cold:
            self._cold = False
            return
        self._recent.append(delay_s)

    @property
    def delay_s(self) -> float | None:
        """The largest of the recent delays, None before there is one."""
        return max(self._recent, default=None)
