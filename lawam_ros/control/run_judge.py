"""The limit checker for a whole run at once: the same questions as ``limit_checker`` asks of every command, on arrays."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import JointLimits
from lawam_ros.control.limit_checker import POSITION_TOLERANCE_RAD, RELATIVE_TOLERANCE

Array = NDArray[np.float64]

_ROUNDING_RAD = 4e-15


@dataclass
class Verdict:
    """violations and worst (largest share of the limit that was reached) per quantity, named as in ``limit_checker``."""

    commands: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)

    def add(self, other: "Verdict") -> None:
        self.commands += other.commands
        self.violations += other.violations
        for quantity, share in other.worst.items():
            self.worst[quantity] = max(share, self.worst.get(quantity, 0.0))


def judge_run(stamps_ns: Array, positions: Array, velocities: Array, accelerations: Array, limits: JointLimits) -> Verdict:
    """M stamps (int ns) and (M, n) in rad, rad/s, rad/s2. A command may be repeated (same stamp, same numbers)."""
    q, v, a = positions, velocities, accelerations
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    verdict = Verdict(commands=len(stamps))
    finite = np.isfinite(q + v + a)
    verdict.violations["non_finite"] = int((~finite).sum())
    middle, half = 0.5 * (limits.upper_rad + limits.lower_rad), 0.5 * (limits.upper_rad - limits.lower_rad)
    _compare(verdict, "position", q - middle, half, POSITION_TOLERANCE_RAD, 0.0)
    _compare(verdict, "velocity", v, limits.velocity_rad_s, 0.0)
    _compare(verdict, "acceleration", a, limits.acceleration_rad_s2, 0.0)
    if limits.envelope is not None:
        allowed = np.where(v > 0.0, limits.envelope.upwards(q), limits.envelope.downwards(q))
        _compare(verdict, "velocity_at_position", v, np.minimum(allowed, limits.velocity_rad_s), 1e-9)
    repeated = np.zeros(len(stamps), dtype=bool)
    repeated[1:] = (stamps[1:] == stamps[:-1]) & (q[1:] == q[:-1]).all(1) & (v[1:] == v[:-1]).all(1) & (a[1:] == a[:-1]).all(1)
    stamps, q, v, a = stamps[~repeated], q[~repeated], v[~repeated], a[~repeated]
    step_s = np.diff(stamps)[:, None] / 1e9
    if (step_s <= 0.0).any():
        verdict.violations["stamp"] = int((step_s <= 0.0).sum())
        step_s = np.where(step_s <= 0.0, np.nan, step_s)
    for quantity, values, limit in (
        ("velocity_difference", q, limits.velocity_rad_s),
        ("acceleration_difference", v, limits.acceleration_rad_s2),
        ("jerk_difference", a, limits.jerk_rad_s3),
    ):
        _compare(verdict, quantity, np.diff(values, axis=0) / step_s, limit, _ROUNDING_RAD / step_s)
    verdict.violations = +verdict.violations
    return verdict


def _compare(
    verdict: Verdict, quantity: str, values: Array, limit: Array, rounding: Array | float, tolerance: float = RELATIVE_TOLERANCE
) -> None:
    size = np.abs(values)
    verdict.violations[quantity] = int((size > limit * (1.0 + tolerance) + rounding).sum())
    shares = size / np.maximum(limit, 1e-9)
    verdict.worst[quantity] = float(np.nanmax(shares, initial=0.0))
