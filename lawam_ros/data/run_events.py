"""What happened in a run, told from chunks and status: when chunks came into use, how far they disagreed, what held the arm up."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.wire import ExecutorStatus

Array = NDArray[np.float64]

RUN = "RUN"


@dataclass(frozen=True)
class Use:
    """A chunk and the tick (ns) that first used it."""

    chunk: ActionChunk
    used_ns: int

    @property
    def latency_s(self) -> float:
        """From the observation to the first command of its chunk."""
        return (self.used_ns - self.chunk.stamp_ns) * 1e-9


@dataclass(frozen=True)
class Seam:
    """Distance (m) between what an old and a new chunk ask of a hand at the instant (ns) the new one takes over, worst arm."""

    at_ns: int
    distance_m: float


@dataclass(frozen=True)
class Spell:
    """A time in one state for one reason; the last one ends with the recording."""

    start_ns: int
    end_ns: int
    state: str
    reason: str


def uses(chunks: Sequence[ActionChunk], statuses: Sequence[ExecutorStatus]) -> list[Use]:
    """Chunks the executor accepted, in the order of use."""
    known = {(chunk.epoch, chunk.sequence): chunk for chunk in chunks}
    found: dict[tuple[int, int], Use] = {}
    for status in statuses:
        key = (status.epoch, status.accepted_sequence)
        if key in known and key not in found:
            found[key] = Use(known[key], status.stamp_ns)
    return list(found.values())


def seams(robot: Robot, used: Sequence[Use]) -> list[Seam]:
    """Where both chunks speak of the same instant; after a rest, or with joint targets, there is nothing to compare."""
    found = []
    for old, new in zip(used, used[1:], strict=False):
        distances = [] if old.chunk.epoch != new.chunk.epoch else _distances_m(robot, old.chunk, new.chunk, new.used_ns)
        if distances:
            found.append(Seam(new.used_ns, max(distances)))
    return found


def spells(statuses: Sequence[ExecutorStatus]) -> list[Spell]:
    """States one after another, the last of them up to the last status."""
    found: list[Spell] = []
    for status in statuses:
        start_ns = status.stamp_ns
        if found and (found[-1].state, found[-1].reason) == (status.state, status.reason):
            start_ns = found.pop().start_ns
        elif found:
            found[-1] = Spell(found[-1].start_ns, status.stamp_ns, found[-1].state, found[-1].reason)
        found.append(Spell(start_ns, status.stamp_ns, status.state, status.reason))
    return found


def _distances_m(robot: Robot, old: ActionChunk, new: ActionChunk, at_ns: int) -> list[float]:
    places = [(_place_m(arm.name, old, at_ns), _place_m(arm.name, new, at_ns)) for arm in robot.arms]
    return [float(np.linalg.norm(a - b)) for a, b in places if a is not None and b is not None]


def _place_m(arm: str, chunk: ActionChunk, at_ns: int) -> Array | None:
    """Target of a hand (3,) at an instant, None where the chunk does not say."""
    columns = [f"{arm}/{axis}" for axis in "xyz"]
    times_s, at_s = chunk.time_from_start_s, (at_ns - chunk.stamp_ns) * 1e-9
    if not times_s[0] <= at_s <= times_s[-1] or any(name not in chunk.components for name in columns):
        return None
    return np.array([np.interp(at_s, times_s, chunk.values[:, chunk.components.index(name)]) for name in columns])
