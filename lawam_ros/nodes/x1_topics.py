"""A Quanta X1 through the ROS topics that run on it. Whether they may be used from outside is not documented; never tried on a robot.

Arms are commanded by end poses, each in its own arm's shifted frame; what the controllers do with silence is not known, so the bridge
never leaves them with a moving target.
"""

import array
import math
import time
from collections.abc import Callable

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import BatteryState, JointState
from std_msgs.msg import Float64MultiArray

from lawam_ros.contract.bridge import Bridge
from lawam_ros.contract.errors import LawamError, UserMistake
from lawam_ros.contract.records import JointCommand, Pose
from lawam_ros.contract.robot import Robot
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.robot_report import RobotReport
from lawam_ros.control.x1_streams import X1Streams, arm_stream, gripper_stream
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.other_publishers import other_publishers


class TopicsBackEnd:
    """Publishes on and listens to the topics that ``bridge.topics`` of the robot file names."""

    def __init__(self, node: Node, robot: Robot, bridge: Bridge, urdf_text: str) -> None:
        if robot.official is None:
            raise UserMistake(f"robot {robot.name} has no 'official' section in its file, so nobody knows what its vendor's poses mean")
        if not bridge.battery_topic:
            raise UserMistake(
                "back end topics: expected bridge.topics.battery in the robot file with a BatteryState: the arms fall when the battery is "
                "low, so nothing moves without knowing it; or use backend:=sdk"
            )
        self._node = node
        self._robot = robot
        self._topics = bridge.topics
        self._battery_topic = bridge.battery_topic
        self._official = robot.official
        self._chains = {
            arm.name: Chain.from_urdf(urdf_text, arm.base_frame, self._official.end_pose_frames[arm.name]) for arm in robot.arms
        }
        self._streams = X1Streams(robot)

    def open(self) -> None:
        node = self._node
        self._poses = {
            name: node.create_publisher(PoseStamped, topics.pose_command, qos.REFERENCE) for name, topics in self._topics.items()
        }
        self._motors = {
            name: node.create_publisher(Float64MultiArray, topics.gripper_command, qos.REFERENCE) for name, topics in self._topics.items()
        }
        for arm in self._robot.arms:
            topics = self._topics[arm.name]
            node.create_subscription(JointState, topics.joint_states, self._hearing(arm_stream(arm.name), arm.joints), qos.SENSOR)
            node.create_subscription(
                JointState, topics.gripper_joint_states, self._hearing(gripper_stream(arm.name), arm.gripper.joints), qos.SENSOR
            )
        node.create_subscription(BatteryState, self._battery_topic, self._on_battery, qos.SENSOR)

    def begin(self) -> None:
        """Raises LawamError while somebody else commands the robot, or nobody listens to us."""
        others = self.others()
        if others:
            raise LawamError(others)
        for topic in self._command_topics():
            if not self._node.count_subscribers(topic):
                raise LawamError(f"expected the robot to listen to {topic}, nobody does; is its controller running?")

    def others(self) -> str:
        found = (other_publishers(self._node, topic, 1) for topic in self._command_topics())
        return next(filter(None, found), "")

    def _command_topics(self) -> list[str]:
        return [topic for topics in self._topics.values() for topic in (topics.pose_command, topics.gripper_command)]

    def report(self) -> RobotReport:
        return self._streams.report(time.monotonic())

    @property
    def bad_messages(self) -> tuple[int, str]:
        return self._streams.bad_messages, self._streams.last_bad

    def send(self, command: JointCommand) -> None:
        stamp_ns = self._node.get_clock().now().nanoseconds
        for arm in self._robot.arms:
            end = self._chains[arm.name].pose(command.positions_rad[self._robot.joint_slice(arm.name)])
            shifted = Pose(end.position_m - self._official.end_pose_offset_m, end.quat_xyzw)
            self._poses[arm.name].publish(messages.pose_to_message(shifted, stamp_ns, arm.base_frame))
            motor_rad = command.gripper_m[arm.name] / arm.gripper.opening_per_joint
            self._motors[arm.name].publish(Float64MultiArray(data=array.array("d", [motor_rad])))

    def close(self) -> None:
        """Publishers and subscriptions are the node's, which destroys them."""

    def _hearing(self, stream: str, joints: tuple[str, ...]) -> Callable[[JointState], None]:
        def heard(message: JointState) -> None:
            self._streams.joints(stream, joints, list(message.name), list(message.position), messages.nanoseconds(message.header.stamp))

        return heard

    def _on_battery(self, message: BatteryState) -> None:
        """``percentage`` is a fraction, NaN where it is not measured."""
        if math.isfinite(message.percentage):
            self._streams.battery(100.0 * message.percentage, time.monotonic())
