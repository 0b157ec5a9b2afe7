"""Which chunks the executor takes: one pure judgement with a short machine-readable reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import ActionChunk, Pose
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS, Robot
from lawam_ros.control import scalar_rotations as rot

Array = NDArray[np.float64]

MAX_POINTS = 512
_SPACING_TOLERANCE_S = 1e-6
_QUATERNION_TOLERANCE = 1e-3
_RANGE_M = 10.0


@dataclass(frozen=True)
class Situation:
    """What the executor knows when a chunk is to be released. Times are int ns on the executor's clock.

    resting_since_ns: since when the commanded pose has not moved, None in motion. commanded: arm -> commanded TCP pose. lead_ns: how far
    ahead of now the commanded pose is meant for.
    """

    now_ns: int
    epoch: int
    epoch_stamp_ns: int
    last_sequence: int | None
    resting_since_ns: int | None
    commanded: Mapping[str, Pose]
    lead_ns: int = 0


def judge_chunk(chunk: ActionChunk, contract: Contract, situation: Situation) -> str | None:
    """None when the chunk may be released now, else why not.

    Reasons: contract, epoch, sequence, frame, components, points, non_finite, spacing, quaternion, range, stamp_before_epoch,
    stamp_in_future, too_old, expired, start_distance, start_angle. A chunk is taken or refused as a whole.
    """
    return (
        _judge_identity(chunk, contract, situation)
        or _judge_form(chunk, contract)
        or _judge_time(chunk, contract, situation)
        or _judge_start(chunk, contract.robot, situation)
    )


def starts_from_rest(chunk: ActionChunk, resting_since_ns: int | None) -> bool:
    """Observed while the arm stood: starts at its first point when released, however old (up to max_chunk_age_s)."""
    return resting_since_ns is not None and chunk.stamp_ns >= resting_since_ns


def arm_values(chunk: ActionChunk, robot: Robot) -> dict[str, Array]:
    """arm -> (N, 8) in the order x y z qx qy qz qw gripper. The components must have been judged."""
    column = {name: i for i, name in enumerate(chunk.components)}
    return {arm.name: chunk.values[:, [column[f"{arm.name}/{part}"] for part in CARTESIAN_COMPONENTS]] for arm in robot.arms}


def _judge_identity(chunk: ActionChunk, contract: Contract, situation: Situation) -> str | None:
    if chunk.contract_crc != contract.crc:
        return "contract"
    if chunk.epoch != situation.epoch:
        return "epoch"
    if situation.last_sequence is not None and chunk.sequence <= situation.last_sequence:
        return "sequence"
    if chunk.frame_id != contract.robot.base_frame:
        return "frame"
    return None


def _judge_form(chunk: ActionChunk, contract: Contract) -> str | None:
    expected = {f"{arm.name}/{part}" for arm in contract.robot.arms for part in CARTESIAN_COMPONENTS}
    if len(chunk.components) != len(expected) or set(chunk.components) != expected:
        return "components"
    values, times = np.asarray(chunk.values), np.asarray(chunk.time_from_start_s)
    if values.ndim != 2 or values.shape[1] != len(expected):
        return "components"
    if not 1 <= len(values) <= MAX_POINTS or times.shape != (len(values),):
        return "points"
    if not np.isfinite(values).all() or not np.isfinite(times).all():
        return "non_finite"
    policy = contract.task.policy
    meant = (np.arange(len(times)) + policy.action_offset_steps) / policy.action_hz
    if np.abs(times - meant).max() > _SPACING_TOLERANCE_S:
        return "spacing"
    for table in arm_values(chunk, contract.robot).values():
        if np.abs(table).max() > _RANGE_M:
            return "range"
        if np.abs(np.linalg.norm(table[:, 3:7], axis=-1) - 1.0).max() > _QUATERNION_TOLERANCE:
            return "quaternion"
    return None


def _judge_time(chunk: ActionChunk, contract: Contract, situation: Situation) -> str | None:
    budgets = contract.robot.budgets
    if chunk.stamp_ns < situation.epoch_stamp_ns:
        return "stamp_before_epoch"
    age_s = (situation.now_ns - chunk.stamp_ns) * 1e-9
    if age_s < -budgets.future_stamp_s:
        return "stamp_in_future"
    if age_s > budgets.max_chunk_age_s:
        return "too_old"
    if not starts_from_rest(chunk, situation.resting_since_ns) and age_s + situation.lead_ns * 1e-9 >= float(chunk.time_from_start_s[-1]):
        return "expired"
    return None


def _judge_start(chunk: ActionChunk, robot: Robot, situation: Situation) -> str | None:
    """Distance from the commanded pose to the place of the chunk at its release (its first point where that is still to come)."""
    times = np.asarray(chunk.time_from_start_s)
    from_rest = starts_from_rest(chunk, situation.resting_since_ns)
    age_s = 0.0 if from_rest else (situation.now_ns + situation.lead_ns - chunk.stamp_ns) * 1e-9
    for name, table in arm_values(chunk, robot).items():
        commanded = situation.commanded[name]
        start = np.array([np.interp(age_s, times, table[:, i]) for i in range(3)])
        if np.linalg.norm(start - commanded.position_m) > robot.budgets.chunk_start_distance_m:
            return "start_distance"
        nearest = rot.normalise(table[int(np.argmin(np.abs(times - age_s))), 3:7].tolist())
        if np.linalg.norm(rot.difference(nearest, commanded.quat_xyzw.tolist())) > robot.budgets.chunk_start_angle_rad:
            return "start_angle"
    return None
