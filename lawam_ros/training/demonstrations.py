"""The columns of a LeRobot folder recorded for one of our tasks, arms side by side."""

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.task import PolicyContract
from lawam_ros.data.action_space import ABSOLUTE_WIDTH, state_width
from lawam_ros.data.episode_schema import ACTION, IMAGE_PREFIX, REFERENCE, STATE
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.training.samples import FrameTable, Indices


def read_table(dataset: LeRobotDataset, policy: PolicyContract, arms: int) -> FrameTable:
    """Columns of a dataset recorded for ``policy`` with so many arms. Raises UserMistake where rate, cameras or columns do not fit."""
    if dataset.fps != policy.action_hz:
        raise UserMistake(f"{dataset.root}: expected {policy.action_hz:g} frames per second as the task's action_hz, got {dataset.fps:g}")
    missing = [key for key in camera_keys(policy) if key not in dataset.video_keys]
    if missing:
        raise UserMistake(f"{dataset.root}: expected the cameras {', '.join(missing)}, the dataset has {', '.join(dataset.video_keys)}")
    widths = {STATE: state_width(policy.state), REFERENCE: ABSOLUTE_WIDTH, ACTION: ABSOLUTE_WIDTH}
    columns = {key: _column(dataset, key, width, arms) for key, width in widths.items()}
    episode = np.repeat(np.arange(len(dataset)), [entry.length for entry in dataset.episodes])
    return FrameTable(columns[STATE], columns[REFERENCE], columns[ACTION], episode)


def camera_keys(policy: PolicyContract) -> list[str]:
    """Video columns in prompt order, primary cameras first."""
    return [IMAGE_PREFIX + name for name in (*policy.primary_cameras, *policy.wrist_cameras)]


def start_rows(episode: Indices, stride: int) -> Indices:
    """Every ``stride``-th frame of every episode; episode: (F,) number of the episode of each frame."""
    first = np.searchsorted(episode, episode, side="left")
    return np.flatnonzero((np.arange(len(episode)) - first) % stride == 0)


def _column(dataset: LeRobotDataset, key: str, width: int, arms: int) -> NDArray[np.float64]:
    if key not in dataset.features:
        raise UserMistake(f"{dataset.root}: expected the column {key}, the dataset has {', '.join(dataset.features)}")
    column = np.asarray(dataset.column(key), dtype=float)
    if column.ndim != 2 or column.shape[1] != width * arms:
        raise UserMistake(f"{dataset.root}: expected {arms} x {width} numbers in {key} (arms x one arm's), got shape {column.shape[1:]}")
    if not np.all(np.isfinite(column)):
        raise UserMistake(f"{dataset.root}: {key} holds NaN or infinity; record the dataset again")
    return column
