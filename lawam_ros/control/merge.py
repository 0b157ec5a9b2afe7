"""What becomes of a new chunk next to older ones that speak of the same instants: strategies behind one interface.

``replace`` (default): the newest chunk alone, aligned in time; the executor's seam does the rest.
``ensemble``: mean of all chunks with the weights of ACT, exp(-0.01 i), i = 0 the oldest.
``official_robotwin``: rule of the official RoboTwin client over all chunks (alpha 0, quaternions by components, grippers binary).
``official_towel``: rule of the official fold-towel server: the newest chunk with the one before (alpha 0.05, angles one by one).
All work on absolute time: a chunk that was observed between two others is read between its points.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.robot import Arm
from lawam_ros.contract.rotations import quat_from_rpy, quat_make_continuous, quat_slerp, rpy_from_quat, rpy_nearest
from lawam_ros.control.ensemble import EnsembleRules, blend

Array = NDArray[np.float64]

ACT_DECAY = 0.01
TOWEL_ALPHA = 0.05
_TIME_TOLERANCE_S = 1e-6
_KEPT = 128


@dataclass(frozen=True)
class TimedTables:
    """Rows of all arms on absolute time. values: (N, A, 8) x y z qx qy qz qw gripper; times_s: (N,), rising, after ``stamp_ns``."""

    stamp_ns: int
    times_s: Array
    values: Array


class Strategy(Protocol):
    """One row from what the chunks say about its instant."""

    @property
    def newest(self) -> int:
        """How many chunks count, the newest included."""
        ...

    def row(self, predictions: Array) -> Array:
        """(A, 8) from (P, A, 8), oldest first, P > 1. Quaternions of one arm have neighbouring signs."""
        ...


class Merge:
    """Remembers the chunks of an epoch and merges each new one with them."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._chunks: list[TimedTables] = []

    def forget(self) -> None:
        """What was said before counts no more: the arm stood still meanwhile, or the task has changed."""
        self._chunks = []

    def merged(self, chunk: TimedTables) -> Array:
        """Values (N, A, 8) to follow instead of the chunk's. The chunk is remembered as it came."""
        others = [old for old in self._chunks if _last_ns(old) >= chunk.stamp_ns + round(float(chunk.times_s[0]) * 1e9)]
        self._chunks = [*others, chunk][-min(_KEPT, self._strategy.newest) :]
        older = self._chunks[:-1]
        if not older:
            return chunk.values
        read = [_read(old, chunk.times_s + (chunk.stamp_ns - old.stamp_ns) * 1e-9) for old in older]
        out = chunk.values.copy()
        for i, newest in enumerate(chunk.values):
            said = [values[i] for values, covered in read if covered[i]]
            if said:
                out[i] = self._strategy.row(_signs_of_last(np.stack([*said, newest])))
        return out


def merge_named(name: str, arms: Sequence[Arm]) -> Merge:
    """Merge of a contract. Raises UserMistake for a name that is none of MERGES."""
    openings_m = np.array([arm.gripper.opening_max_m for arm in arms])
    made: dict[str, Strategy] = {
        "replace": Replace(),
        "ensemble": ActEnsemble(),
        "official_robotwin": OfficialRobotwin(openings_m),
        "official_towel": OfficialTowel(),
    }
    if name not in made:
        raise UserMistake(f"executor.merge: expected one of {', '.join(made)}, got {name!r}")
    return Merge(made[name])


@dataclass(frozen=True)
class Replace:
    """The newest chunk alone."""

    newest: int = 1

    def row(self, predictions: Array) -> Array:
        return np.asarray(predictions[-1])


@dataclass(frozen=True)
class ActEnsemble:
    """Positions: weighted mean. Rotations: the quaternion nearest to all by weighted squared chord. Grippers: the newest."""

    decay: float = ACT_DECAY
    newest: int = _KEPT

    def row(self, predictions: Array) -> Array:
        weights = np.exp(-self.decay * np.arange(len(predictions)))
        weights /= weights.sum()
        out = predictions[-1].copy()
        out[:, :3] = np.tensordot(weights, predictions[..., :3], axes=1)
        for arm in range(predictions.shape[1]):
            quats = predictions[:, arm, 3:7]
            mean = np.linalg.eigh((quats * weights[:, None]).T @ quats)[1][:, -1]
            out[arm, 3:7] = mean if mean @ quats[-1] >= 0.0 else -mean
        return np.asarray(out)


@dataclass(frozen=True)
class OfficialRobotwin:
    """Rows as that client has them: per arm position, quaternion with the real part first, gripper 0 closed to 1 open."""

    openings_m: Array
    newest: int = _KEPT

    def row(self, predictions: Array) -> Array:
        arms = predictions.shape[1]
        official = predictions[..., [0, 1, 2, 6, 3, 4, 5, 7]].copy()
        official[..., 7] /= self.openings_m
        rules = EnsembleRules(
            binary_dims=tuple(8 * arm + 7 for arm in range(arms)),
            quaternions=tuple(tuple(range(8 * arm + 3, 8 * arm + 7)) for arm in range(arms)),
        )
        blended = blend(official.reshape(len(predictions), -1), rules).reshape(arms, 8)[:, [0, 1, 2, 4, 5, 6, 3, 7]]
        blended[:, 7] *= self.openings_m
        return blended


@dataclass(frozen=True)
class OfficialTowel:
    """Rows as that server has them: per arm position, roll, pitch, yaw, gripper. Angles are averaged one by one, as there.

    Those of the older chunk are first brought within half a turn of the newest: else the mean of +179 and -179 degrees would be 0.
    """

    alpha: float = TOWEL_ALPHA
    newest: int = 2

    def row(self, predictions: Array) -> Array:
        angles = rpy_from_quat(predictions[..., 3:7])
        for older in angles[:-1]:
            older[:] = [rpy_nearest(rpy, newest) for rpy, newest in zip(older, angles[-1], strict=True)]
        rows = np.concatenate([predictions[..., :3], angles, predictions[..., 7:]], axis=-1)
        blended = blend(rows.reshape(len(rows), -1), EnsembleRules(alpha=self.alpha)).reshape(rows.shape[1:])
        return np.array([[*row[:3], *quat_from_rpy(row[3:6]), row[6]] for row in blended])


def towel_rows(actions: Array, tail: Array | None, move_steps: int, latency_step: int = 0) -> tuple[Array, Array]:
    """The fold-towel server's own bookkeeping for one request: rows to execute and the tail to hand in next time.

    actions: (n, D) of the model; tail: what the request before returned, None at first. The tail is not blended, and empty where the chunk
    is too short for one. ValueError where nothing is left to execute.
    """
    start = max(0, latency_step)
    rows = actions[start : start + move_steps].astype(np.float64)
    if not len(rows):
        raise ValueError(f"expected actions after step {start}, got {len(actions)} steps")
    if tail is not None:
        for i in range(min(len(tail), len(rows))):
            rows[i] = blend(np.stack([tail[i], rows[i]]), EnsembleRules(alpha=TOWEL_ALPHA))
    return rows, actions[start + move_steps : start + 2 * move_steps].astype(np.float64)


def tables_on_time(tables: Mapping[str, Array], arms: Sequence[Arm], times_s: Array, stamp_ns: int) -> TimedTables:
    """tables: arm -> (N, 8)."""
    return TimedTables(stamp_ns, times_s, np.stack([tables[arm.name] for arm in arms], axis=1))


def _last_ns(chunk: TimedTables) -> int:
    return chunk.stamp_ns + math.ceil((float(chunk.times_s[-1]) + _TIME_TOLERANCE_S) * 1e9)


def _read(chunk: TimedTables, times_s: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Values (M, A, 8) of a chunk at times after its stamp, and which of them it covers. Grippers are held from point to point."""
    own = chunk.times_s
    covered = (times_s >= own[0] - _TIME_TOLERANCE_S) & (times_s <= own[-1] + _TIME_TOLERANCE_S)
    if len(own) == 1:
        return np.broadcast_to(chunk.values, (len(times_s), *chunk.values.shape[1:])), covered
    left = np.clip(np.searchsorted(own, times_s + _TIME_TOLERANCE_S, side="right") - 1, 0, len(own) - 2)
    share = np.clip((times_s - own[left]) / (own[left + 1] - own[left]), 0.0, 1.0)[:, None]
    a, b = chunk.values[left], chunk.values[left + 1]
    out = a + share[..., None] * (b - a)
    out[..., 3:7] = quat_slerp(a[..., 3:7], b[..., 3:7], np.broadcast_to(share, out.shape[:2]))
    held = np.clip(np.searchsorted(own, times_s + _TIME_TOLERANCE_S, side="right") - 1, 0, len(own) - 1)
    out[..., 7] = chunk.values[held, :, 7]
    return out, covered


def _signs_of_last(predictions: Array) -> Array:
    """Quaternions of each arm with the signs that lie nearest to the newest one's."""
    out = predictions.copy()
    for arm in range(predictions.shape[1]):
        out[:, arm, 3:7] = quat_make_continuous(predictions[::-1, arm, 3:7])[::-1]
    return out
