"""Mock node: the topics of a robot without robot, renderer or physics. It does as told; its cameras show a test card or a recording."""

import sys
from collections.abc import Iterator
from itertools import chain, count, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.robot import Camera
from lawam_ros.data.episode_schema import IMAGE_PREFIX
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.images import image_message, image_type
from lawam_ros.nodes.managed import ManagedNode, run
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.priority import PHYSICS, lock_memory, raise_priority
from lawam_ros.observe.image import rotate
from lawam_ros.sim.kinematic_robot import KinematicRobot

Picture = NDArray[np.uint8]

IMAGES = Parameter("images", "", "What the cameras show: <dataset folder>#<episode number>, again and again; empty shows a test card.")
JOINT_STATES_HZ = Parameter("joint_states_hz", 125.0, "Rate of joint_states.", low=20.0, high=500.0)
TABLE = (IMAGES, JOINT_STATES_HZ)


class MockNode(ManagedNode):
    """Joint states and camera images out, set-points of ``sim_controller/joint_trajectory`` in."""

    def __init__(self) -> None:
        super().__init__("mock", TABLE)
        self._frames = 0
        self._bad_commands = 0
        self._rounds: list[Any] = []

    def setup(self) -> None:
        robot = self._contract_robot = self.contract().robot
        images = str(self.get_parameter("images").value)
        self._pictures = {camera.name: recorded(images, camera) if images else test_card(camera) for camera in robot.cameras}
        self._robot = KinematicRobot(robot)
        self._joint_states = self.create_publisher(JointState, robot.joint_states_topic, qos.REFERENCE)
        self._description = self.create_publisher(String, "robot_description", qos.LATCHED)
        self._description.publish(String(data=(urdf_dir() / robot.urdf).read_text(encoding="utf-8")))
        self._images = {camera.name: self.create_publisher(image_type(camera), camera.topic, qos.IMAGE_OUT) for camera in robot.cameras}
        self._infos = {camera.name: self.create_publisher(CameraInfo, camera.info_topic, qos.SENSOR) for camera in robot.cameras}
        self.create_subscription(JointTrajectory, robot.sim_command_topic, self._on_command, qos.COMMAND)

    def start(self) -> None:
        self._rounds = [self.create_timer(1.0 / float(self.get_parameter("joint_states_hz").value), self._publish_joints)]
        for camera in self._contract_robot.cameras:
            self._rounds.append(self.create_timer(1.0 / camera.rate_hz, lambda camera=camera: self._publish_picture(camera)))

    def stop(self) -> None:
        for timer in self._rounds:
            self.destroy_timer(timer)
        self._rounds = []

    def teardown(self) -> None:
        self._pictures = {}

    def report(self) -> tuple[str, dict[str, object]]:
        return "", {"frames": self._frames, "bad_commands": self._bad_commands}

    def _on_command(self, message: JointTrajectory) -> None:
        try:
            self._robot.apply(messages.command_from_message(message, self._contract_robot))
        except ValueError as error:  # BadMessage is one
            self._bad_commands += 1
            self.get_logger().warning(f"set-point dropped: {error}", throttle_duration_sec=1.0)

    def _publish_joints(self) -> None:
        stamp_ns = self.get_clock().now().nanoseconds
        self._joint_states.publish(messages.joint_state_to_message(stamp_ns, self._robot.joint_positions(), self._robot.joint_velocities()))

    def _publish_picture(self, camera: Camera) -> None:
        picture = rotate(next(self._pictures[camera.name]), -camera.rotate_deg % 360)
        message = image_message(picture, camera, self.get_clock().now().nanoseconds, f"{camera.name}_optical_frame")
        self._images[camera.name].publish(message)
        height, width = picture.shape[:2]
        self._infos[camera.name].publish(messages.camera_info(message.header, height, width, width))
        self._frames += 1


def test_card(camera: Camera) -> Iterator[Picture]:
    """A picture with shades in both directions. Every other one is a step brighter: a frozen camera is a fault, this one is none."""
    across, down = np.linspace(40, 200, camera.width), np.linspace(40, 200, camera.height)
    card = np.stack(np.broadcast_arrays(across[None, :], down[:, None], 0.5 * (across[None, :] + down[:, None])), axis=-1).astype(np.uint8)
    return (card + np.uint8(k % 2) for k in count())


def recorded(images: str, camera: Camera) -> Iterator[Picture]:
    """The frames of one episode, again and again; one frame after the other whatever the rate of the recording. Raises UserMistake."""
    folder, _, episode = images.partition("#")
    if not folder or not (episode or "0").isdecimal():
        raise UserMistake(f"parameter images: expected <dataset folder>#<episode number>, got {images!r}")
    dataset = LeRobotDataset(Path(folder).expanduser())
    if not int(episode or "0") < len(dataset):
        raise UserMistake(f"parameter images: expected an episode from 0 to {len(dataset) - 1} of {folder}, got {episode}")
    size = next(dataset.frames_of(int(episode or "0"), IMAGE_PREFIX + camera.name)).shape
    if size != (camera.height, camera.width, 3):
        raise UserMistake(
            f"parameter images: expected pictures of {camera.width} x {camera.height} of camera {camera.name}, got {size[1]} x {size[0]}"
        )
    return chain.from_iterable(dataset.frames_of(int(episode or "0"), IMAGE_PREFIX + camera.name) for _ in repeat(None))


def main() -> int:
    raise_priority(PHYSICS)  # as the simulation: joint states that come late stop the arm
    lock_memory()
    return run(MockNode)


if __name__ == "__main__":
    sys.exit(main())
