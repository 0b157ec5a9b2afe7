"""Which topics of a bag are the streams of a contract, whoever recorded it: in a namespace, under other names, images compressed or not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.robot import COMPRESSED, Camera, Robot
from lawam_ros.contract.wire import BadMessage
from lawam_ros.data.bag_reader import Topic
from lawam_ros.observe.image import BadImage, check_size, rgb_from_bytes, rgb_from_compressed, rotate

_IMAGE, _COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


@dataclass(frozen=True)
class BagStreams:
    """Topics of a bag by what they are to a robot; what the bag has not is absent or None. poses: arm -> commanded poses."""

    cameras: dict[str, Topic]
    joint_states: Topic | None
    poses: dict[str, Topic]
    reference: Topic | None
    command: Topic | None
    chunks: Topic | None
    status: Topic | None
    instruction: Topic | None
    estop: Topic | None
    diagnostics: Topic | None
    run_info: Topic | None
    episodes: Topic | None
    world: Topic | None

    def missing(self, robot: Robot, cameras: Iterable[str]) -> list[str]:
        """What a policy needs and the bag lacks, by the names of the robot file."""
        lacking = [f"camera {name} ({robot.camera(name).topic})" for name in cameras if name not in self.cameras]
        return lacking if self.joint_states else [*lacking, f"joint states ({robot.joint_states_topic})"]


def bag_streams(topics: Mapping[str, Topic], robot: Robot, remap: Mapping[str, str]) -> BagStreams:
    """remap: name in the bag -> name in the robot file. Raises UserMistake where a name fits several topics of the bag."""

    def find(name: str, *types: str) -> Topic | None:
        return find_topic(topics, name, remap, types)

    cameras = {
        camera.name: find(camera.topic, _IMAGE, _COMPRESSED_IMAGE) or find(_other_transport(camera.topic), _IMAGE, _COMPRESSED_IMAGE)
        for camera in robot.cameras
    }
    poses = {arm.name: find(f"lawam/reference_pose/{arm.name}", "geometry_msgs/msg/PoseStamped") for arm in robot.arms}
    return BagStreams(
        cameras={name: topic for name, topic in cameras.items() if topic},
        joint_states=find(robot.joint_states_topic, "sensor_msgs/msg/JointState"),
        poses={name: topic for name, topic in poses.items() if topic},
        reference=find("lawam/reference", "trajectory_msgs/msg/JointTrajectory"),
        command=find(robot.sim_command_topic, "trajectory_msgs/msg/JointTrajectory"),
        chunks=find("lawam/action_chunk", "trajectory_msgs/msg/JointTrajectory"),
        status=find("lawam/status", "diagnostic_msgs/msg/DiagnosticArray"),
        instruction=find("instruction", "std_msgs/msg/String"),
        estop=find("lawam/estop", "std_msgs/msg/Bool"),
        diagnostics=find("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"),
        run_info=find("lawam/run_info", "std_msgs/msg/String"),
        episodes=find("lawam/episode", "std_msgs/msg/String"),
        world=find("sim/status", "diagnostic_msgs/msg/DiagnosticArray"),
    )


def _other_transport(topic: str) -> str:
    return topic.removesuffix(COMPRESSED) if topic.endswith(COMPRESSED) else topic + COMPRESSED


def find_topic(topics: Mapping[str, Topic], name: str, remap: Mapping[str, str], types: Sequence[str] = ()) -> Topic | None:
    """The topic of this name: as remapped, by its full name, or in any one namespace. Types, when given, must fit; empty ones do not count.

    Raises UserMistake where several namespaces have it.
    """
    wanted = "/" + name.strip("/")
    renamed = {"/" + theirs.strip("/"): "/" + ours.strip("/") for theirs, ours in remap.items()}
    fitting = {
        renamed.get(topic.name, topic.name): topic for topic in topics.values() if topic.count and (not types or topic.type in types)
    }
    if wanted in fitting:
        return fitting[wanted]
    found = [topic for topic_name, topic in fitting.items() if topic_name.endswith(wanted)]
    if len(found) > 1:
        raise UserMistake(f"expected one topic {name} in the bag, found {', '.join(topic.name for topic in found)}; choose with --remap")
    return found[0] if found else None


def picture(message: Any, camera: Camera) -> NDArray[np.uint8]:
    """RGB array in the contract's orientation and size of a decoded Image or CompressedImage. Raises BadMessage."""
    try:
        if hasattr(message, "format"):
            rgb = rgb_from_compressed(message.data)
        else:
            rgb = rgb_from_bytes(message.data.data, message.height, message.width, message.step, message.encoding)
        rgb = rotate(rgb, camera.rotate_deg)
        check_size(rgb.shape, camera.height, camera.width)
    except BadImage as error:
        raise BadMessage(f"camera {camera.name}: {error}") from error
    return rgb
