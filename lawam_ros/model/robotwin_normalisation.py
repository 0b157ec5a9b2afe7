"""State and actions of the official RoboTwin clients: inverted grippers, and quaternions that are not scaled.

Two bimanual layouts. Joints: 14 numbers, the grippers are the dimensions whose statistics are not masked. Poses: 16 numbers, per arm
position (3), quaternion wxyz (4), gripper.
"""

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.normalisation import Statistics, Vector, denormalise_actions, normalise_state

GRIPPER_THRESHOLD = 0.49
QUATERNIONS = ((3, 4, 5, 6), (11, 12, 13, 14))
JOINT_SIZE, POSE_SIZE = 14, 16
JOINT_GRIPPERS, POSE_GRIPPERS = (6, 13), (7, 15)


def normalise_joint_state(raw: NDArray[np.floating], statistics: Statistics) -> Vector:
    """State (..., 14) to -1..1; grippers to 1 (below the threshold) or 0."""
    _check_order(statistics, JOINT_SIZE, JOINT_GRIPPERS)
    inverted = np.where(np.asarray(raw) > GRIPPER_THRESHOLD, 0.0, 1.0)
    return np.where(statistics.mask, normalise_state(raw, statistics), inverted).astype(np.float32)


def denormalise_joint_actions(normalised: NDArray[np.floating], statistics: Statistics) -> Vector:
    """Actions (..., at least 14) to joint angles (..., 14); grippers to 1 (below the threshold) or 0."""
    _check_order(statistics, JOINT_SIZE, JOINT_GRIPPERS)
    actions = denormalise_actions(normalised, statistics)
    return np.where(statistics.mask, actions, np.where(actions > GRIPPER_THRESHOLD, 0.0, 1.0)).astype(np.float32)


def normalise_pose_state(raw: NDArray[np.floating], statistics: Statistics) -> Vector:
    """State (..., 16) to -1..1 with grippers negated; quaternions as they are."""
    _check_order(statistics, POSE_SIZE, POSE_GRIPPERS)
    scaled = normalise_state(raw, statistics)
    for dim in POSE_GRIPPERS:
        scaled[..., dim] *= -1.0
    for dims in QUATERNIONS:
        scaled[..., dims] = raw[..., dims]
    return scaled


def denormalise_pose_actions(normalised: NDArray[np.floating], statistics: Statistics) -> Vector:
    """Actions (..., at least 16) to poses (..., 16): quaternions to unit length (identity for a zero one), grippers g to 1 - g."""
    _check_order(statistics, POSE_SIZE, POSE_GRIPPERS)
    actions = denormalise_actions(normalised, statistics)
    for dim in POSE_GRIPPERS:
        actions[..., dim] = 1.0 - actions[..., dim]
    for dims in QUATERNIONS:
        quaternion = np.asarray(normalised[..., dims], dtype=np.float32)
        norm = np.linalg.norm(quaternion, axis=-1, keepdims=True)
        identity = np.array([1.0, 0.0, 0.0, 0.0], np.float32)
        actions[..., dims] = np.where(norm > 1e-8, quaternion / np.maximum(norm, 1e-8), identity)
    return actions


def _check_order(statistics: Statistics, size: int, grippers: tuple[int, int]) -> None:
    """Another number of dimensions, or 0/1 dimensions elsewhere than at the grippers (an older order that had both at the end)."""
    if statistics.size != size:
        raise UserMistake(f"RoboTwin: expected statistics of {size} dimensions, got {statistics.size}")
    unmasked = tuple(int(dim) for dim in np.flatnonzero(~statistics.mask))
    if unmasked and unmasked != grippers:
        raise UserMistake(
            f"RoboTwin: expected the grippers at dimensions {grippers} of {size}, the mask of the statistics says {unmasked}; "
            "the checkpoint has an order of dimensions that is no longer supported"
        )
