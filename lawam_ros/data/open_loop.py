"""Chunks of a policy held against what the arms did next: how far they lie apart, component by component and step by step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.task import ACTION_SLOTS
from lawam_ros.data.action_space import relative_from_absolute

Array = NDArray[np.float64]

COMPONENTS = {"x": "m", "y": "m", "z": "m", "rx": "rad", "ry": "rad", "rz": "rad", "gripper": "m"}
"""What a chunk says of an arm, seen from the commanded pose at the observation (base frame, rotation vector), and its unit."""
POSITION = "position"
"""Distance of the TCP in m, beside the components."""
_MOVED = 1e-3
"""Below a millimetre or a milliradian on average an arm stands, and a share of that says nothing."""


@dataclass(frozen=True)
class ComparedChunk:
    """Arm -> absolute rows ``x y z qx qy qz qw gripper`` in the arm's base frame: the command at the observation (8,), the policy's targets
    and what the arm was told (or did) at the same instants (N, 8), time_from_start_s (N,) after the observation."""

    stamp_ns: int
    time_from_start_s: Array
    start: Mapping[str, Array]
    predicted: Mapping[str, Array]
    truth: Mapping[str, Array]


@dataclass(frozen=True)
class ComponentError:
    """Mean absolute error of one component of an arm at each step (N,), and that of an arm which stays where it is."""

    name: str
    unit: str
    error: Array
    staying: Array

    @property
    def better(self) -> float | None:
        """By which share the policy's error is smaller than that of staying: 1 is perfect, below 0 worse. None where nothing moved."""
        return better(self.error, self.staying)


def component_errors(chunks: Sequence[ComparedChunk]) -> list[ComponentError]:
    """Of at least one chunk; all have the same arms and number of steps."""
    found = []
    for arm in chunks[0].start:
        predicted, truth, staying = (np.array(parts) for parts in zip(*(_seen_from_start(chunk, arm) for chunk in chunks), strict=True))
        error, idle = np.abs(predicted - truth), np.abs(staying - truth)
        for index, (name, unit) in enumerate(COMPONENTS.items()):
            found.append(ComponentError(f"{arm}/{name}", unit, error[..., index].mean(axis=0), idle[..., index].mean(axis=0)))
        apart, away = (np.linalg.norm(values[..., :3], axis=-1).mean(axis=0) for values in (error, idle))
        found.append(ComponentError(f"{arm}/{POSITION}", "m", apart, away))
    return found


def position_better(errors: Sequence[ComponentError]) -> float | None:
    """:attr:`ComponentError.better` of the positions of all arms together."""
    positions = [row for row in errors if row.name.endswith(f"/{POSITION}")]
    return better(np.array([row.error for row in positions]), np.array([row.staying for row in positions]))


def why_no_figure(errors: Sequence[ComponentError]) -> str:
    """Why ``position_better`` gives none, in words; empty where it gives one."""
    if position_better(errors) is not None:
        return ""
    staying_m = float(np.mean([row.staying for row in errors if row.name.endswith(f"/{POSITION}")]))
    return (
        f"the arms move by {1e3 * staying_m:.2f} mm on average within a chunk, expected at least {1e3 * _MOVED:g} mm: "
        "by how much a policy is better than staying cannot be told; record some motion"
    )


def better(error: Array, staying: Array) -> float | None:
    """As :attr:`ComponentError.better`, of errors of any shape."""
    return 1.0 - float(error.mean()) / float(staying.mean()) if staying.mean() >= _MOVED else None


def errors_mapping(errors: Sequence[ComponentError]) -> list[dict[str, Any]]:
    """For machines: per component the errors of every step, in the component's unit, and their means."""
    return [
        {
            "name": row.name,
            "unit": row.unit,
            "error": _rounded(row.error),
            "staying": _rounded(row.staying),
            "error_mean": round(float(row.error.mean()), 6),
            "staying_mean": round(float(row.staying.mean()), 6),
            "better": None if row.better is None else round(row.better, 4),
        }
        for row in errors
    ]


def errors_table(errors: Sequence[ComponentError], time_from_start_s: Array) -> str:
    """For people, in thousandths of the unit."""
    first, last = (f"at {time_s:.2f} s" for time_s in (time_from_start_s[0], time_from_start_s[-1]))
    lines = [f"{'mean absolute error':<20} {'':<5} {'all steps':>10} {first:>10} {last:>10} {'staying':>10} {'better by':>10}"]
    for row in errors:
        figures = (row.error.mean(), row.error[0], row.error[-1], row.staying.mean())
        gain = "-" if row.better is None else f"{100 * row.better:.0f} %"
        lines.append(f"{row.name:<20} m{row.unit:<4} " + " ".join(f"{1e3 * value:>10.1f}" for value in figures) + f" {gain:>10}")
    return "\n".join(lines)


def is_finite(chunk: ComparedChunk) -> bool:
    return all(math.isfinite(float(rows.sum())) for rows in chunk.predicted.values())


def _seen_from_start(chunk: ComparedChunk, arm: str) -> tuple[Array, Array, Array]:
    """Action vectors (N, 7), (N, 7) and (1, 7) of the targets, of what came, and of staying."""
    start, slots = chunk.start[arm], tuple(ACTION_SLOTS)
    rows = (chunk.predicted[arm], chunk.truth[arm], start[None])
    predicted, truth, staying = (relative_from_absolute(part, start, slots) for part in rows)
    return predicted, truth, staying


def _rounded(values: Array) -> list[float]:
    return [round(float(value), 6) for value in values]
