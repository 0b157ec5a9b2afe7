"""Where commands go: set-points for simulated and mocked robots and for bridges, windows or poses for the controller of a real one."""

import array
from typing import Protocol

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lawam_ros.contract.real import TRAJECTORY_WINDOW, RealRobot
from lawam_ros.contract.robot import Drive, Robot
from lawam_ros.control.rolling_window import Window
from lawam_ros.control.tick_output import TickOutput
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.stamp_clock import StampClock


class CommandOutput(Protocol):
    """``publish`` is called once a tick while the executor is active; set_point: the command as a message."""

    publisher: Publisher

    def publish(self, set_point: JointTrajectory, output: TickOutput, stamps: StampClock) -> None: ...


def command_topic(robot: Robot, drive: Drive | None) -> str:
    """Before remapping. Nobody else may publish there."""
    return robot.sim_command_topic if drive is None else drive.command_topic


def command_output(node: Node, robot: Robot, drive: Drive | None) -> CommandOutput:
    """drive: as ``hardware.wanted_drive`` has it."""
    if not isinstance(drive, RealRobot):
        return SetPoints(node, command_topic(robot, drive))
    return Windows(node, robot, drive) if drive.output == TRAJECTORY_WINDOW else Poses(node, robot, drive)


class SetPoints:
    """Every command, to whatever simulates or to a bridge that obeys."""

    def __init__(self, node: Node, topic: str) -> None:
        self.publisher = node.create_publisher(JointTrajectory, topic, qos.COMMAND)

    def publish(self, set_point: JointTrajectory, output: TickOutput, stamps: StampClock) -> None:
        if output.heard:
            self.publisher.publish(set_point)


class Windows:
    """Rolling windows to a joint_trajectory_controller."""

    def __init__(self, node: Node, robot: Robot, real: RealRobot) -> None:
        self._robot = robot
        self.publisher = node.create_publisher(JointTrajectory, command_topic(robot, real), qos.WINDOW)

    def publish(self, set_point: JointTrajectory, output: TickOutput, stamps: StampClock) -> None:
        if output.window is not None:
            self.publisher.publish(window_to_message(output.window, self._robot, stamps.to_ros(output.window.stamp_ns)))


class Poses:
    """The commanded TCP to a Cartesian impedance controller, which holds the last one; in the arm's base frame."""

    def __init__(self, node: Node, robot: Robot, real: RealRobot) -> None:
        self._arm = robot.arms[0]
        self._every = max(1, round(robot.tick_hz / real.pose_rate_hz))
        self._ticks = 0
        self.publisher = node.create_publisher(PoseStamped, command_topic(robot, real), qos.WINDOW)

    def publish(self, set_point: JointTrajectory, output: TickOutput, stamps: StampClock) -> None:
        self._ticks += 1
        if output.command is None or not output.heard or self._ticks % self._every:
            return
        stamp_ns = stamps.to_ros(output.command.stamp_ns)
        self.publisher.publish(messages.pose_to_message(output.poses[self._arm.name], stamp_ns, self._arm.base_frame))


def window_to_message(window: Window, robot: Robot, stamp_ns: int) -> JointTrajectory:
    """Points with positions, velocities and accelerations of the arm joints. stamp_ns: ROS time of the first one."""
    rows = (window.positions_rad.tolist(), window.velocities_rad_s.tolist(), window.accelerations_rad_s2.tolist())
    points = [
        JointTrajectoryPoint(
            positions=array.array("d", q),
            velocities=array.array("d", v),
            accelerations=array.array("d", a),
            time_from_start=messages.duration(k * window.period_ns * 1e-9),
        )
        for k, (q, v, a) in enumerate(zip(*rows, strict=True))
    ]
    return JointTrajectory(header=messages.header(stamp_ns, robot.base_frame), joint_names=list(robot.joint_names), points=points)
