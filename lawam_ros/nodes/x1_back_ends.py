"""The ways of the bridge to a Quanta X1, by their names: the vendor's Python package, a mock of it, the topics that run on the robot."""

import numpy as np
from rclpy.node import Node

from lawam_ros.contract.bridge import BACK_ENDS, MOCK, SDK, Bridge
from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.installation import refuse_ros_wheels
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.robot import Robot
from lawam_ros.control.robot_report import BackEnd
from lawam_ros.nodes.x1_sdk import SdkBackEnd, vendor_sdk
from lawam_ros.nodes.x1_topics import TopicsBackEnd
from lawam_ros.observe.image import jpeg_from_rgb
from lawam_ros.sim.x1_mock import MockX1, mock_sdk


def back_end_named(kind: str, robot: Robot, bridge: Bridge, inputs: Node) -> BackEnd:
    """Not opened yet. inputs: the node whose topics the back end ``topics`` uses. Raises UserMistake, or EnvironmentLacks without what it
    needs; a real robot is not reached through the ROS wheels."""
    urdf = (urdf_dir() / robot.urdf).read_text(encoding="utf-8")
    if kind == MOCK:
        grey = jpeg_from_rgb(np.full((240, 320, 3), 128, np.uint8), 90)
        return SdkBackEnd(robot, bridge, urdf, mock_sdk(MockX1(robot, urdf, grey)))
    if kind not in BACK_ENDS:
        raise UserMistake(f"parameter backend: expected one of {', '.join(BACK_ENDS)}, got {kind!r}")
    refuse_ros_wheels()
    if kind == SDK:
        return SdkBackEnd(robot, bridge, urdf, vendor_sdk())
    return TopicsBackEnd(inputs, robot, bridge, urdf)
