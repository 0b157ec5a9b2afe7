"""A LeRobot v3 folder as bags, one per episode: demonstrations can be replayed and looked at like runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.cli.frame_rows import JOINTS, STAMP
from lawam_ros.contract.load import Contract
from lawam_ros.contract.recorded_topics import EPISODE_TOPIC
from lawam_ros.data.action_space import ABSOLUTE_WIDTH
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.data.episode_schema import IMAGE_PREFIX, REFERENCE
from lawam_ros.data.lerobot_reader import LeRobotDataset

_JOINT_STATE, _IMAGE, _POSE = "sensor_msgs/msg/JointState", "sensor_msgs/msg/Image", "geometry_msgs/msg/PoseStamped"
_STRING = "std_msgs/msg/String"


def write_bags(dataset: LeRobotDataset, contract: Contract, out: Path) -> Iterator[Path]:
    """One folder per episode, as it is done; those that exist already are left as they are."""
    for episode in range(len(dataset)):
        folder = out / f"episode_{episode:05d}"
        if not (folder / "metadata.yaml").is_file():
            with BagWriter(folder) as writer:
                _EpisodeBag(writer, dataset, contract, episode).write()
        yield folder


class _EpisodeBag:
    def __init__(self, writer: BagWriter, dataset: LeRobotDataset, contract: Contract, episode: int) -> None:
        self._writer, self._dataset, self._contract, self._episode = writer, dataset, contract, episode
        self._new = {name: writer.message_class(f"{package}/msg/{name}") for package, name in _CLASSES}

    def write(self) -> None:
        rows = self._dataset.rows(self._episode)
        length = self._dataset.episodes[self._episode].length
        stamps = (
            rows[STAMP].reshape(-1) if STAMP in rows else (np.arange(length) * 1e9 / self._dataset.fps).round().astype(np.int64) + 10**9
        )
        cameras = {c.name: c.topic for c in self._contract.robot.cameras if IMAGE_PREFIX + c.name in self._dataset.video_keys}
        pictures = {name: self._dataset.frames_of(self._episode, IMAGE_PREFIX + name) for name in cameras}
        self._writer.add_topic(f"/{EPISODE_TOPIC}", _STRING)
        self._writer.add_topic("/instruction", _STRING, latched=True)
        self._text("/instruction", int(stamps[0]), self._dataset.episodes[self._episode].task)
        for index, stamp in enumerate(int(stamp) for stamp in stamps):
            if JOINTS in rows:
                self._joints(stamp, self._dataset.features[JOINTS]["names"], rows[JOINTS][index])
            if REFERENCE in rows:
                self._poses(stamp, rows[REFERENCE][index])
            for name, topic in cameras.items():
                self._image(f"/{topic}", stamp, next(pictures[name]))

    def _header(self, stamp_ns: int, frame_id: str = "") -> Any:
        return self._new["Header"](self._new["Time"](stamp_ns // 10**9, stamp_ns % 10**9), frame_id)

    def _text(self, topic: str, stamp_ns: int, text: str) -> None:
        self._writer.write_message(topic, stamp_ns, self._new["String"](text))

    def _joints(self, stamp_ns: int, names: list[str], positions: NDArray[np.float64]) -> None:
        topic, empty = f"/{self._contract.robot.joint_states_topic}", np.zeros(0)
        self._writer.add_topic(topic, _JOINT_STATE)
        message = self._new["JointState"](self._header(stamp_ns), list(names), np.asarray(positions, dtype=float), empty, empty)
        self._writer.write_message(topic, stamp_ns, message)

    def _poses(self, stamp_ns: int, row: NDArray[np.float64]) -> None:
        for number, arm in enumerate(self._contract.robot.arms):
            topic = f"/lawam/reference_pose/{arm.name}"
            self._writer.add_topic(topic, _POSE)
            x, y, z, qx, qy, qz, qw = (float(v) for v in row[number * ABSOLUTE_WIDTH : number * ABSOLUTE_WIDTH + 7])
            pose = self._new["Pose"](self._new["Point"](x, y, z), self._new["Quaternion"](qx, qy, qz, qw))
            self._writer.write_message(topic, stamp_ns, self._new["PoseStamped"](self._header(stamp_ns, arm.base_frame), pose))

    def _image(self, topic: str, stamp_ns: int, rgb: NDArray[np.uint8]) -> None:
        height, width = rgb.shape[:2]
        self._writer.add_topic(topic, _IMAGE)
        data = np.ascontiguousarray(rgb).reshape(-1)
        self._writer.write_message(topic, stamp_ns, self._new["Image"](self._header(stamp_ns), height, width, "rgb8", 0, 3 * width, data))


_CLASSES: tuple[tuple[str, str], ...] = (
    ("builtin_interfaces", "Time"),
    ("std_msgs", "Header"),
    ("std_msgs", "String"),
    ("sensor_msgs", "JointState"),
    ("sensor_msgs", "Image"),
    ("geometry_msgs", "Point"),
    ("geometry_msgs", "Quaternion"),
    ("geometry_msgs", "Pose"),
    ("geometry_msgs", "PoseStamped"),
)
