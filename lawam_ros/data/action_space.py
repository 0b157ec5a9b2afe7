"""Absolute targets of one arm, the vectors a policy speaks, and the way between them.

An absolute row is ``x y z qx qy qz qw gripper``: TCP pose in the arm's base frame (m, unit quaternion in ROS order), opening in m.
Policy vectors are put together from the slots that the task names (``contract/task.py``), in the task's order. Chunk-relative slots count
from one reference for the whole chunk: the *commanded* row at the observation's time, so that following error of the arm never enters.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import (
    quat_from_rotvec,
    quat_inverse,
    quat_multiply,
    quat_normalise,
    rotation_6d_from_quat,
    rotvec_from_quat,
)
from lawam_ros.contract.task import ACTION_SLOTS, STATE_SLOTS

Array = NDArray[np.float64]

ABSOLUTE_COMPONENTS = ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper")
ABSOLUTE_WIDTH = len(ABSOLUTE_COMPONENTS)


def action_width(slots: Sequence[str]) -> int:
    return sum(ACTION_SLOTS[slot] for slot in slots)


def state_width(slots: Sequence[str]) -> int:
    return sum(STATE_SLOTS[slot] for slot in slots)


def slot_ranges(slots: Sequence[str], widths: dict[str, int], start: int = 0) -> dict[str, slice]:
    """Where each slot of an arm whose part begins at ``start`` lies in the vector, in the task's order."""
    ranges = {}
    for slot in slots:
        ranges[slot] = slice(start, start + widths[slot])
        start += widths[slot]
    return ranges


def relative_from_absolute(targets: Array, reference: Array, slots: Sequence[str]) -> Array:
    """Action vectors (N, D) of absolute targets (N, 8) seen from the commanded row ``reference`` (8,).

    Rotations count on the left, in the base frame: ``R_target = exp(rotvec) R_reference``.
    """
    targets, reference = _rows(targets, "targets"), _row(reference, "reference")
    parts = {
        "translation_chunk_relative": targets[:, :3] - reference[:3],
        "rotvec_chunk_relative": _rotvec_between(reference[3:7], targets[:, 3:7]),
        "gripper_opening": targets[:, 7:8],
    }
    return np.concatenate([parts[slot] for slot in slots], axis=1)


def absolute_from_relative(actions: Array, reference: Array, slots: Sequence[str]) -> Array:
    """Absolute targets (N, 8) of action vectors (N, D): the inverse of ``relative_from_absolute``. An absent slot keeps the reference.

    Quaternion signs follow the reference, so neighbouring rows can be interpolated.
    """
    reference = _row(reference, "reference")
    actions = np.asarray(actions, dtype=float)
    if actions.ndim != 2 or actions.shape[1] != action_width(slots):
        raise ValueError(f"expected actions of shape (N, {action_width(slots)}) for {', '.join(slots)}, got {actions.shape}")
    ranges = slot_ranges(slots, ACTION_SLOTS)
    targets = np.repeat(reference[None], len(actions), axis=0)
    if "translation_chunk_relative" in ranges:
        targets[:, :3] += actions[:, ranges["translation_chunk_relative"]]
    if "rotvec_chunk_relative" in ranges:
        turn = quat_from_rotvec(actions[:, ranges["rotvec_chunk_relative"]])
        targets[:, 3:7] = quat_normalise(quat_multiply(turn, reference[3:7]))
    if "gripper_opening" in ranges:
        targets[:, 7:8] = actions[:, ranges["gripper_opening"]]
    return targets


def state_vector(tcp: Pose, gripper_m: float, slots: Sequence[str]) -> Array:
    """State vector (D,) of the measured TCP pose in the arm's base frame and the measured opening in m."""
    parts = {
        "tcp_position": np.asarray(tcp.position_m, dtype=float),
        "tcp_rotation_6d": rotation_6d_from_quat(quat_normalise(tcp.quat_xyzw)),
        "gripper": np.array([float(gripper_m)]),
    }
    return np.concatenate([parts[slot] for slot in slots])


def absolute_row(tcp: Pose, gripper_m: float) -> Array:
    """Absolute row (8,) of a pose and an opening in m, for instance the commanded reference."""
    return np.concatenate([tcp.position_m, tcp.quat_xyzw, [float(gripper_m)]])


def _rotvec_between(from_quat: Array, to_quat: Array) -> Array:
    return rotvec_from_quat(quat_multiply(quat_normalise(to_quat), quat_inverse(quat_normalise(from_quat))))


def _row(row: Array, name: str) -> Array:
    row = np.asarray(row, dtype=float)
    if row.shape != (ABSOLUTE_WIDTH,):
        raise ValueError(f"expected {name} as one row {' '.join(ABSOLUTE_COMPONENTS)}, got shape {row.shape}")
    return np.concatenate([row[:3], quat_normalise(row[3:7]), row[7:]])


def _rows(rows: Array, name: str) -> Array:
    rows = np.asarray(rows, dtype=float)
    if rows.ndim != 2 or rows.shape[1] != ABSOLUTE_WIDTH:
        raise ValueError(f"expected {name} as rows {' '.join(ABSOLUTE_COMPONENTS)}, got shape {rows.shape}")
    return rows
