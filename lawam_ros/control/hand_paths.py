"""Where a chunk sends the hands, for drawing: whatever the chunk speaks, points of the TCP."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import Arm, Robot
from lawam_ros.control.acceptance import starts_from_rest
from lawam_ros.control.kinematics import Chain

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HandPath:
    """One arm's targets: TCP (N, 3) in the arm's base frame, m; when (N,), ns of ROS time; gripper opening (N,), m, nan where unsaid."""

    arm: str
    points_m: Array
    due_ns: NDArray[np.int64]
    opening_m: Array

    def ahead_s(self, now_ns: int) -> Array:
        """Seconds from an instant to each point (N,), below 0 for those that are over."""
        return np.asarray((self.due_ns - now_ns) * 1e-9, dtype=float)


def hand_paths(
    robot: Robot, chains: Mapping[str, Chain], chunk: ActionChunk, arrived_ns: int, resting_since_ns: int | None
) -> list[HandPath]:
    """A path per arm the chunk speaks of. chains: arm -> its kinematics. arrived_ns: of the chunk, about when the executor released it.
    resting_since_ns: since when the arms stood still then, None in motion. Instants in ns of ROS time."""
    from_rest = starts_from_rest(chunk, resting_since_ns)
    start_ns = arrived_ns - round(float(chunk.time_from_start_s[0]) * 1e9) if from_rest else chunk.stamp_ns
    due_ns = start_ns + np.round(chunk.time_from_start_s * 1e9).astype(np.int64)
    columns = dict(zip(chunk.components, chunk.values.T, strict=True))
    unsaid = np.full(len(due_ns), np.nan)
    paths = []
    for arm in robot.arms:
        points_m = _tcp_points(arm, chains[arm.name], columns)
        if points_m is not None:
            paths.append(HandPath(arm.name, points_m, due_ns, columns.get(f"{arm.name}/gripper", unsaid)))
    return paths


def in_frame(points_m: Array, T_frame_points: Array) -> Array:
    """Points (N, 3) of one frame in another."""
    return np.asarray(points_m @ T_frame_points[:3, :3].T + T_frame_points[:3, 3])


def _tcp_points(arm: Arm, chain: Chain, columns: Mapping[str, Array]) -> Array | None:
    axes = [f"{arm.name}/{axis}" for axis in "xyz"]
    joints = [f"{arm.name}/{joint}" for joint in arm.joints]
    if all(name in columns for name in axes):
        return np.stack([columns[name] for name in axes], axis=1)
    if all(name in columns for name in joints):
        return np.array([chain.transform(q)[:3, 3] for q in np.stack([columns[name] for name in joints], axis=1)])
    return None
