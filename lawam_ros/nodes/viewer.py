"""Viewer node: the view of rviz for machines without it, in Foxglove or as a Rerun page in the browser."""

import sys
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.timer import Timer
from sensor_msgs.msg import JointState

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.viewers import PORTS, VIEWERS
from lawam_ros.control.link_frames import LinkFrames
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.managed import ManagedNode, run
from lawam_ros.nodes.parameters import Parameter

Array = NDArray[np.float64]

VIEWER = Parameter("viewer", "foxglove", "foxglove: a websocket server for the Foxglove app. rerun: a page for the browser.")
HOST = Parameter("host", "127.0.0.1", "Address to listen at; 0.0.0.0 shows everything to everybody in the network.")
PORT = Parameter("port", 0, "Port to listen at; 0 takes the usual one, 8765 for Foxglove, 9090 (and 9091) for Rerun.", low=0, high=65535)
LINKS_HZ = Parameter("links_hz", 10.0, "How often the links of the robot move in the view.", low=1.0, high=100.0)
TABLE = (VIEWER, HOST, PORT, LINKS_HZ)


class Viewer(Protocol):
    """Someone who shows a run."""

    address: str

    def links(self, relative: Mapping[str, Array], stamp_ns: int) -> None:
        """Pose (4, 4) of each link in its parent link."""

    def report(self) -> dict[str, object]:
        """Values for /diagnostics."""

    def close(self) -> None:
        """Stop serving."""


def open_viewer(kind: str, node: Node, robot: Robot, links: LinkFrames, host: str, port: int) -> Viewer:
    """Raises UserMistake for another kind, EnvironmentLacks where its library is not installed or the port is taken."""
    if kind == "foxglove":
        from lawam_ros.nodes.foxglove_viewer import FoxgloveViewer

        return FoxgloveViewer(node, robot, links, host, port or PORTS[kind])
    if kind == "rerun":
        from lawam_ros.nodes.rerun_viewer import RerunViewer

        return RerunViewer(node, robot, links, host, port or PORTS[kind])
    raise UserMistake(f"parameter viewer: expected {' or '.join(VIEWERS)}, got {kind!r}")


class ViewerNode(ManagedNode):
    """Only looks: it subscribes, and publishes nothing but diagnostics."""

    def __init__(self) -> None:
        super().__init__("viewer", TABLE)
        self._viewer: Viewer | None = None
        self._timer: Timer | None = None
        self._waiting_for = ""

    def setup(self) -> None:
        robot = self.contract().robot
        self._links = LinkFrames((urdf_dir() / robot.urdf).read_text(encoding="utf-8"))
        self._joints: dict[str, float] = dict(robot.standing_joints)
        self._newest_ns = self._shown_ns = 0
        kind, host, port = (self.get_parameter(entry.name).value for entry in (VIEWER, HOST, PORT))
        self._viewer = open_viewer(str(kind), self, robot, self._links, str(host), int(port))
        self.create_subscription(JointState, robot.joint_states_topic, self._on_joint_states, qos.SENSOR)
        self._timer = self.create_timer(1.0 / float(self.get_parameter("links_hz").value), self._show_links)
        self.get_logger().info(f"watch at {self._viewer.address}")

    def start(self) -> None:
        """Serving begins with setup, so that a page can be open before anything moves."""

    def stop(self) -> None:
        """It goes on until the end."""

    def teardown(self) -> None:
        if self._timer is not None:
            self.destroy_timer(self._timer)
        if self._viewer is not None:
            self._viewer.close()
        self._viewer = self._timer = None

    def report(self) -> tuple[str, dict[str, object]]:
        return "", {} if self._viewer is None else {"address": self._viewer.address, **self._viewer.report()}

    def warning(self) -> str:
        return self._waiting_for

    def _on_joint_states(self, message: JointState) -> None:
        try:
            self._joints |= messages.joint_positions(message)
            self._newest_ns = messages.nanoseconds(message.header.stamp)
        except messages.BadMessage as error:
            self._waiting_for = f"joint_states: {error}"

    def _show_links(self) -> None:
        if self._viewer is None or self._newest_ns == self._shown_ns:
            return
        try:
            self._viewer.links(self._links.relative(self._joints), self._newest_ns)
            self._waiting_for = ""
        except KeyError as error:
            self._waiting_for = f"expected joint states of every moving joint to draw the robot, got none of {error} yet"
        self._shown_ns = self._newest_ns


def main() -> int:
    return run(ViewerNode)


if __name__ == "__main__":
    sys.exit(main())
