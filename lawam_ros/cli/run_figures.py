"""Latencies of a run from what was seen: plain numbers for the summary."""

from collections.abc import Sequence
from dataclasses import dataclass

_SAME_EPISODE_NS = 5_000_000_000


@dataclass(frozen=True)
class RunFigures:
    """None where nothing was measured. Percentiles of the time one chunk takes to infer, median from an observation to the first command
    that uses its chunk, rate of the set-points, mean reaction time (:func:`reaction_ms`), set-points beyond a limit."""

    chunk_ms_p50: float | None
    chunk_ms_p99: float | None
    observation_to_command_ms_p50: float | None
    control_hz: float | None
    reaction_ms_mean: float | None
    limit_violations: int


def reaction_ms(uses: Sequence[tuple[int, int]]) -> float | None:
    """Mean time from an event in view to the first command that can know of it, for events at any time with equal chance.

    uses: stamp of each chunk's observation and of the first command it moved, ns, in order. An event between two observations is known
    with the second one's chunk.
    """
    total = weight = 0.0
    for (before, _), (seen, used) in zip(uses[:-1], uses[1:], strict=True):
        gap = seen - before
        if 0 < gap < _SAME_EPISODE_NS:
            total += gap * (used - seen + gap / 2)
            weight += gap
    return round(total / weight * 1e-6, 2) if weight else None


def percentile(samples: Sequence[float], fraction: float) -> float | None:
    """Nearest-rank percentile, None of nothing."""
    return round(sorted(samples)[min(len(samples) - 1, int(fraction * len(samples)))], 2) if samples else None
