"""Rows of a dataset from aligned frames: the same for frames heard live and read from a bag."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.task import STATE_SLOTS
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.measured import robot_state
from lawam_ros.data.action_space import ABSOLUTE_WIDTH, state_vector
from lawam_ros.data.episode_schema import ACTION, IMAGE_PREFIX, REFERENCE, STATE, command_rows, episode_schema
from lawam_ros.data.lerobot_layout import Schema, VectorFeature
from lawam_ros.observe.frame_stream import Commanded, Frame

JOINTS, STAMP = "observation.joints", "observation.stamp"
"""Measured joints, and the instant of the observation in ns: with them a dataset becomes a recording again."""


def recorded_schema(contract: Contract, cameras: Sequence[str]) -> Schema:
    """As for simulated demonstrations, with joints and stamps, and the cameras that there are."""
    schema = episode_schema(contract)
    further = (VectorFeature(JOINTS, joint_names(contract), "float64"), VectorFeature(STAMP, ("ns",), "int64"))
    videos = tuple(video for video in schema.videos if video.key.removeprefix(IMAGE_PREFIX) in cameras)
    return replace(schema, vectors=(*schema.vectors, *further), videos=videos)


def joint_names(contract: Contract) -> tuple[str, ...]:
    return (*contract.robot.joint_names, *(joint for arm in contract.robot.arms for joint in arm.gripper.joints))


def chains_of(contract: Contract) -> dict[str, Chain]:
    urdf = (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")
    return {arm.name: Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame) for arm in contract.robot.arms}


def frame_rows(contract: Contract, chains: Mapping[str, Chain], frames: Sequence[Frame[Any]]) -> dict[str, NDArray[Any]]:
    """Columns of one episode, (T, D). Where no commands were recorded, what the arm did next stands for what it was told.

    Raises KeyError for a joint of the robot file that is not measured.
    """
    robot, slots = contract.robot, tuple(STATE_SLOTS)
    states, measured = [], []
    for frame in frames:
        tcp, opening_m, _ = robot_state(robot, chains, frame.observation.joints)
        states.append(np.concatenate([state_vector(tcp[arm.name], opening_m[arm.name], slots) for arm in robot.arms]))
        measured.append({arm.name: Commanded(tcp[arm.name], opening_m[arm.name]) for arm in robot.arms})
    told = [frame.commanded or measured[index] for index, frame in enumerate(frames)]
    per_arm = [command_rows([row[arm.name].pose for row in told], [row[arm.name].opening_m for row in told]) for arm in robot.arms]
    commanded = np.concatenate(per_arm, axis=1)
    following = np.concatenate([commanded[1:], commanded[-1:]])
    for column in range(ABSOLUTE_WIDTH - 1, commanded.shape[1], ABSOLUTE_WIDTH):
        following[:, column] = destinations(following[:, column])
    names = joint_names(contract)
    return {
        STATE: np.array(states),
        REFERENCE: commanded,
        ACTION: following,
        JOINTS: np.array([[frame.observation.joints[name] for name in names] for frame in frames]),
        STAMP: np.array([[frame.observation.stamp_ns] for frame in frames], dtype=np.int64),
    }


def destinations(openings_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each movement of a gripper leads: a recording holds openings under way, an action names the one that is wanted."""
    wanted = openings_m.copy()
    for index in range(len(wanted) - 2, -1, -1):
        step, next_step = openings_m[index + 1] - openings_m[index], wanted[index + 1] - openings_m[index + 1]
        if step != 0.0 and step * next_step >= 0.0:
            wanted[index] = wanted[index + 1]
    return wanted
