"""Between our absolute rows and the vectors that official checkpoints and the vendor's interface speak (``official`` of the robot file).

A row is ``x y z qx qy qz qw gripper``: TCP pose in the base frame of its arm (m, unit quaternion), opening in m. An official part is
``x y z roll pitch yaw gripper``: another frame of the same hand, its position less a constant offset, the gripper as its joint stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.official import COMPONENTS
from lawam_ros.contract.robot import Arm, Robot
from lawam_ros.contract.rotations import (
    matrix_from_quat,
    quat_from_matrix,
    quat_from_rpy,
    quat_inverse,
    quat_make_continuous,
    quat_multiply,
    rpy_from_quat,
    rpy_nearest,
)
from lawam_ros.control.kinematics import fixed_transform

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OfficialArm:
    """One arm. T_end_tcp: TCP in the frame that the official side means (4, 4). columns: of its seven components in the whole vector."""

    T_end_tcp: Array
    offset_m: Array
    opening_per_joint: float
    opening_max_m: float
    columns: tuple[int, ...]

    def part_of_row(self, row: Array, near_rpy: Array | None = None) -> Array:
        """Official part (7,) of a row (8,). near_rpy: of the angles that mean the same, those nearest to these."""
        quat_tcp_end = quat_inverse(quat_from_matrix(self.T_end_tcp[:3, :3]))
        quat_end = quat_multiply(row[3:7], quat_tcp_end)
        position = row[:3] - matrix_from_quat(quat_end) @ self.T_end_tcp[:3, 3] - self.offset_m
        rpy = rpy_from_quat(quat_end)
        rpy = rpy if near_rpy is None else rpy_nearest(rpy, near_rpy)
        return np.concatenate([position, rpy, [row[7] / self.opening_per_joint]])

    def rows_of_parts(self, parts: Array) -> Array:
        """Rows (N, 8) of official parts (N, 7); neighbouring quaternions have like signs, openings lie within the gripper's range."""
        quat_end = quat_from_rpy(parts[:, 3:6])
        position = parts[:, :3] + self.offset_m + matrix_from_quat(quat_end) @ self.T_end_tcp[:3, 3]
        quat = quat_multiply(quat_end, quat_from_matrix(self.T_end_tcp[:3, :3]))
        opening = np.clip(parts[:, 6:7] * self.opening_per_joint, 0.0, self.opening_max_m)
        return np.concatenate([position, quat_make_continuous(quat), opening], axis=1)


def official_arms(robot: Robot, urdf_text: str) -> dict[str, OfficialArm]:
    """Raises UserMistake for a robot of which the official side says nothing, and for frames that move against the TCP."""
    official = robot.official
    if official is None:
        raise UserMistake(f"robot {robot.name} has no 'official' section in its file, so official action vectors mean nothing on it")
    return {arm.name: _official_arm(robot, arm, urdf_text) for arm in robot.arms}


def official_vector(arms: Mapping[str, OfficialArm], rows: Mapping[str, Array], near: Array | None = None) -> Array:
    """Official vector (D,) of one row (8,) per arm. near: a vector (D,) whose angles decide among those that mean the same."""
    vector = np.zeros(len(COMPONENTS) * len(arms))
    for name, arm in arms.items():
        columns = list(arm.columns)
        vector[columns] = arm.part_of_row(rows[name], None if near is None else near[columns[3:6]])
    return vector


def rows_of_official(arms: Mapping[str, OfficialArm], vectors: Array) -> dict[str, Array]:
    """Rows (N, 8) per arm of official vectors (N, D). Raises ValueError for another width."""
    if vectors.ndim != 2 or vectors.shape[1] != len(COMPONENTS) * len(arms):
        raise ValueError(f"expected official vectors (N, {len(COMPONENTS) * len(arms)}), got {vectors.shape}")
    return {name: arm.rows_of_parts(vectors[:, list(arm.columns)]) for name, arm in arms.items()}


def _official_arm(robot: Robot, arm: Arm, urdf_text: str) -> OfficialArm:
    assert robot.official is not None
    end_frame = robot.official.end_pose_frames[arm.name]
    return OfficialArm(
        T_end_tcp=fixed_transform(urdf_text, end_frame, arm.tcp_frame),
        offset_m=robot.official.end_pose_offset_m,
        opening_per_joint=arm.gripper.opening_per_joint,
        opening_max_m=arm.gripper.opening_max_m,
        columns=tuple(robot.official.action.index(f"{arm.name}/{component}") for component in COMPONENTS),
    )
