"""What a robot and its executor say, as messages of a bag, built without ROS."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import JointCommand, Pose
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.wire import command_names
from lawam_ros.data.bag_writer import BagWriter

Array = NDArray[np.float64]


class InputMessages:
    """Every message is written as received at the instant of its stamp (ns); a topic is added with its first one."""

    def __init__(self, writer: BagWriter) -> None:
        self._writer = writer

    def text(self, topic: str, stamp_ns: int, text: str, latched: bool = False) -> None:
        self._write(topic, "std_msgs/msg/String", stamp_ns, text, latched=latched)

    def joints(self, topic: str, stamp_ns: int, names: Sequence[str], positions: Array) -> None:
        """Positions in rad, of fingers in m; velocities and efforts stay empty."""
        empty = np.zeros(0)
        self._write(
            topic, "sensor_msgs/msg/JointState", stamp_ns, self._header(stamp_ns), list(names), positions.astype(float), empty, empty
        )

    def image(self, topic: str, stamp_ns: int, rgb: NDArray[np.uint8]) -> None:
        height, width = rgb.shape[:2]
        data = np.ascontiguousarray(rgb).reshape(-1)
        self._write(topic, "sensor_msgs/msg/Image", stamp_ns, self._header(stamp_ns), height, width, "rgb8", 0, 3 * width, data)

    def jpeg(self, topic: str, stamp_ns: int, data: bytes) -> None:
        pixels = np.frombuffer(data, np.uint8)
        self._write(topic, "sensor_msgs/msg/CompressedImage", stamp_ns, self._header(stamp_ns), "rgb8; jpeg compressed bgr8", pixels)

    def pose(self, topic: str, stamp_ns: int, frame_id: str, pose: Pose) -> None:
        point = self._new("geometry_msgs/msg/Point", *map(float, pose.position_m))
        quaternion = self._new("geometry_msgs/msg/Quaternion", *map(float, pose.quat_xyzw))
        posed = self._new("geometry_msgs/msg/Pose", point, quaternion)
        self._write(topic, "geometry_msgs/msg/PoseStamped", stamp_ns, self._header(stamp_ns, frame_id), posed)

    def command(self, topic: str, command: JointCommand, robot: Robot) -> None:
        """One point of a JointTrajectory, as ``lawam/reference``."""
        openings = np.array([command.gripper_m[arm.name] for arm in robot.arms])
        still = np.zeros(len(openings))
        parts = ((command.positions_rad, openings), (command.velocities_rad_s, still), (command.accelerations_rad_s2, still))
        now = self._new("builtin_interfaces/msg/Duration", 0, 0)
        point = self._new("trajectory_msgs/msg/JointTrajectoryPoint", *map(np.concatenate, parts), np.zeros(0), now)
        header = self._header(command.stamp_ns)
        self._write(topic, "trajectory_msgs/msg/JointTrajectory", command.stamp_ns, header, command_names(robot), [point])

    def _header(self, stamp_ns: int, frame_id: str = "") -> Any:
        stamp = self._new("builtin_interfaces/msg/Time", stamp_ns // 10**9, stamp_ns % 10**9)
        return self._new("std_msgs/msg/Header", stamp, frame_id)

    def _new(self, type_name: str, *values: Any) -> Any:
        return self._writer.message_class(type_name)(*values)

    def _write(self, topic: str, type_name: str, stamp_ns: int, *values: Any, latched: bool = False) -> None:
        self._writer.add_topic(topic, type_name, latched)
        self._writer.write_message(topic, stamp_ns, self._new(type_name, *values))
