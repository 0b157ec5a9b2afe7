"""A LeRobot v3 folder as bags, one per episode: demonstrations can be replayed and looked at like runs."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lawam_ros.cli.frame_rows import JOINTS, STAMP
from lawam_ros.contract.load import Contract
from lawam_ros.contract.recorded_topics import EPISODE_TOPIC
from lawam_ros.contract.records import Pose
from lawam_ros.data.action_space import ABSOLUTE_WIDTH
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.data.episode_schema import IMAGE_PREFIX, REFERENCE
from lawam_ros.data.input_messages import InputMessages
from lawam_ros.data.lerobot_reader import LeRobotDataset

_HELD_PERIODS = 4
"""How long the last of everything is repeated behind the mark at the end: what came next tells the last actions."""


def write_bags(dataset: LeRobotDataset, contract: Contract, out: Path) -> Iterator[Path]:
    """One folder per episode, as it is done; those that are complete already are left as they are."""
    for episode in range(len(dataset)):
        folder = out / f"episode_{episode:05d}"
        if not (folder / "metadata.yaml").is_file():
            _remove_unfinished(folder)
            with BagWriter(folder) as writer:
                _write_episode(InputMessages(writer), dataset, contract, episode)
        yield folder


def _remove_unfinished(folder: Path) -> None:
    """What a conversion that was killed has left; a folder that holds anything else stays, and is refused."""
    for file in folder.glob(f"{folder.name}*.mcap"):
        file.unlink()
    with suppress(OSError):
        folder.rmdir()


def _write_episode(messages: InputMessages, dataset: LeRobotDataset, contract: Contract, episode: int) -> None:
    rows, robot = dataset.rows(episode), contract.robot
    cameras = {c.name: f"/{c.topic}" for c in robot.cameras if IMAGE_PREFIX + c.name in dataset.video_keys}
    pictures = {name: dataset.frames_of(episode, IMAGE_PREFIX + name) for name in cameras}
    entry, period_ns = dataset.episodes[episode], round(1e9 / dataset.fps)
    stamps_ns = rows[STAMP].reshape(-1) if STAMP in rows else _made_up_stamps(entry.length, dataset.fps)
    last = entry.length - 1
    held_ns = stamps_ns[last] + period_ns * np.arange(1, _HELD_PERIODS + 1)
    images: dict[str, NDArray[np.uint8]] = {}
    messages.text("/instruction", int(stamps_ns[0]), entry.task, latched=True)
    for index, stamp_ns in enumerate(map(int, (*stamps_ns, *held_ns))):
        row = min(index, last)
        if JOINTS in rows:
            messages.joints(f"/{robot.joint_states_topic}", stamp_ns, dataset.features[JOINTS]["names"], rows[JOINTS][row])
        if REFERENCE in rows:
            for number, arm in enumerate(robot.arms):
                x, y, z, *quat_xyzw = rows[REFERENCE][row][number * ABSOLUTE_WIDTH :][:7]
                pose = Pose(position_m=np.array([x, y, z]), quat_xyzw=np.array(quat_xyzw))
                messages.pose(f"/lawam/reference_pose/{arm.name}", stamp_ns, arm.base_frame, pose)
        if index <= last:
            images = {name: next(frames) for name, frames in pictures.items()}
        for name, topic in cameras.items():
            messages.image(topic, stamp_ns, images[name])
        if index in (0, last):
            messages.text(f"/{EPISODE_TOPIC}", stamp_ns, "start" if index == 0 else "end")


def _made_up_stamps(length: int, fps: float) -> NDArray[np.int64]:
    return (np.arange(length) * 1e9 / fps).round().astype(np.int64) + 10**9
