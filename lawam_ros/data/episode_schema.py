"""What a simulated or recorded episode stores, derived from the robot: features of the dataset and the rows of one instant."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Pose
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS, Robot
from lawam_ros.contract.rotations import quat_make_continuous
from lawam_ros.data.action_space import absolute_row
from lawam_ros.data.lerobot_layout import Schema, VectorFeature, VideoFeature

STATE = "observation.state"
REFERENCE = "observation.reference"
ACTION = "action"
IMAGE_PREFIX = "observation.images."

STATE_PARTS = {"tcp_position": ("x", "y", "z"), "tcp_rotation_6d": ("r11", "r21", "r31", "r12", "r22", "r32"), "gripper": ("gripper",)}
COMMAND_PARTS = {"tcp_position": ("x", "y", "z"), "tcp_quaternion": ("qx", "qy", "qz", "qw"), "gripper": ("gripper",)}


def episode_schema(contract: Contract) -> Schema:
    """Measured state, commanded pose, next commanded pose (action) per arm, and all cameras of the robot.

    The action at frame t is the commanded pose of frame t + 1 (offset 1, absolute, in the arm's base frame) and the opening the gripper is
    sent to; the reference holds the commanded opening, which moves at the gripper's speed.
    """
    robot = contract.robot
    commanded = tuple(f"{arm.name}/{component}" for arm in robot.arms for component in CARTESIAN_COMPONENTS)
    state = tuple(f"{arm.name}/{name}" for arm in robot.arms for names in STATE_PARTS.values() for name in names)
    return Schema(
        robot_type=robot.name,
        fps=round(contract.task.policy.action_hz),
        vectors=(VectorFeature(STATE, state), VectorFeature(REFERENCE, commanded), VectorFeature(ACTION, commanded)),
        videos=tuple(VideoFeature(IMAGE_PREFIX + camera.name, camera.height, camera.width) for camera in robot.cameras),
    )


def command_rows(poses: Sequence[Pose], openings_m: Sequence[float]) -> NDArray[np.float64]:
    """Commanded rows of one arm over an episode (T, 8).

    Quaternion signs are chosen so that rows are continuous and the largest component of the first one is positive: a rule on qw alone
    would flip the sign at random for a hand pointing down, where qw is zero.
    """
    quats = quat_make_continuous(np.array([pose.quat_xyzw for pose in poses]))
    if quats[0, np.argmax(np.abs(quats[0]))] < 0.0:
        quats = -quats
    rows = [absolute_row(Pose(pose.position_m, quat), opening) for pose, quat, opening in zip(poses, quats, openings_m, strict=True)]
    return np.array(rows)


def modality_mapping(robot: Robot) -> dict[str, Any]:
    """Content of ``meta/modality.json``: named parts of the columns, as LaWAM's data loader addresses them."""
    state: dict[str, Any] = {}
    action: dict[str, Any] = {}
    for index, arm in enumerate(robot.arms):
        prefix = "" if len(robot.arms) == 1 else f"{arm.name}_"
        state.update(_parts(prefix, STATE_PARTS, STATE, index))
        state.update(_parts(prefix + "reference_", COMMAND_PARTS, REFERENCE, index))
        action.update(_parts(prefix, COMMAND_PARTS, ACTION, index))
    return {
        "state": state,
        "action": action,
        "video": {camera.name: {"original_key": IMAGE_PREFIX + camera.name} for camera in robot.cameras},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }


def _parts(prefix: str, parts: dict[str, tuple[str, ...]], original_key: str, arm_index: int) -> dict[str, Any]:
    rotations = {"tcp_rotation_6d": "rotation_6d", "tcp_quaternion": "quaternion"}
    start = arm_index * sum(len(names) for names in parts.values())
    out: dict[str, Any] = {}
    for name, names in parts.items():
        out[prefix + name] = {"original_key": original_key, "start": start, "end": start + len(names), "absolute": True}
        if name in rotations:
            out[prefix + name]["rotation_type"] = rotations[name]
        start += len(names)
    return out
