"""Plots and figures of a recorded run, on seconds from its first status."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.data.recorded_run import RecordedRun
from lawam_ros.data.run_events import RUN, seams, spells, uses
from lawam_ros.viz.run_plots import Curve, RunCurves

Array = NDArray[np.float64]


def run_curves(
    contract: Contract, recorded: RecordedRun, distances: Sequence[tuple[int, float]], measured: Sequence[tuple[int, Array]]
) -> RunCurves:
    """distances, measured: (stamp in ns, value), as a scene collects them."""
    names = contract.robot.joint_names
    commanded = [(command.stamp_ns, command.positions_rad) for command in recorded.commands]
    used = uses(recorded.chunks, recorded.statuses)
    start_ns = _start_ns(recorded, measured)
    ends = [stamp_ns for stamp_ns, _ in (*commanded[-1:], *measured[-1:])] + [status.stamp_ns for status in recorded.statuses[-1:]]
    return RunCurves(
        duration_s=max(1e-3, (max(ends, default=start_ns) - start_ns) * 1e-9),
        joint_names=names,
        commanded=_curve(commanded, start_ns, len(names)),
        measured=_curve(measured, start_ns, len(names)),
        latency_ms=_curve([(use.used_ns, 1e3 * use.latency_s) for use in used], start_ns),
        seam_mm=_curve([(seam.at_ns, 1e3 * seam.distance_m) for seam in seams(contract.robot, used)], start_ns),
        distance=_curve(distances, start_ns),
        states=tuple(
            ((spell.start_ns - start_ns) * 1e-9, (spell.end_ns - start_ns) * 1e-9, spell.state) for spell in spells(recorded.statuses)
        ),
    )


def figures(recorded: RecordedRun, curves: RunCurves) -> dict[str, str]:
    """What was measured, in words."""
    running_s = sum(end - start for start, end, state in curves.states if state == RUN)
    rejected = max((status.rejected for status in recorded.statuses), default=0)
    found = {
        "duration": f"{curves.duration_s:.1f} s, {running_s:.1f} s of it in RUN",
        "chunks": f"{len(recorded.chunks)}, {len(curves.latency_ms.times_s)} used, {rejected} rejected",
        "observation to use": _spread(curves.latency_ms.values, "ms"),
        "seams": _spread(curves.seam_mm.values, "mm"),
        "lowest distance to a subgoal": f"{curves.distance.values.min():.2f}" if len(curves.distance.values) else "no subgoals recorded",
    }
    return found | ({"inference, median": f"{recorded.chunk_ms:.0f} ms"} if recorded.chunk_ms is not None else {})


def stops(recorded: RecordedRun) -> list[tuple[str, str, str, str]]:
    """Everything but RUN that lasted: from, to, state, reason."""
    start_ns = _start_ns(recorded, [])
    return [
        (f"{(spell.start_ns - start_ns) * 1e-9:.2f} s", f"{(spell.end_ns - start_ns) * 1e-9:.2f} s", spell.state, spell.reason)
        for spell in spells(recorded.statuses)
        if spell.state != RUN and spell.end_ns > spell.start_ns
    ]


def _start_ns(recorded: RecordedRun, measured: Sequence[tuple[int, Array]]) -> int:
    """First status, or what there is instead."""
    stamps = [status.stamp_ns for status in recorded.statuses[:1]] or [stamp_ns for stamp_ns, _ in measured[:1]]
    return stamps[0] if stamps else 0


def _curve(samples: Sequence[tuple[int, float]] | Sequence[tuple[int, Array]], start_ns: int, columns: int = 0) -> Curve:
    times_s = np.array([(stamp_ns - start_ns) * 1e-9 for stamp_ns, _ in samples])
    values = np.array([value for _, value in samples], dtype=float)
    return Curve(times_s, values if len(samples) else np.empty((0, columns) if columns else 0))


def _spread(values: Array, unit: str) -> str:
    if not len(values):
        return "none"
    return f"median {np.median(values):.1f} {unit}, 99 % below {np.percentile(values, 99):.1f} {unit}, most {values.max():.1f} {unit}"
