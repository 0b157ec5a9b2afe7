"""Commands to the controllers of real robots, as messages; and what keeps a process away from hardware."""

import dataclasses
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from real_arm import RealArm

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.nodes import hardware, messages
from lawam_ros.nodes.command_outputs import Poses, SetPoints, Windows, command_output, command_topic, window_to_message
from lawam_ros.nodes.hardware import wanted_drive
from lawam_ros.nodes.robot_interfaces import robot_interfaces
from lawam_ros.nodes.stamp_clock import StampClock

TASK = "franka_pick_place"
ROBOT = load_contract(TASK, "franka_fr3").robot
OFFSET_NS = 5 * 10**17


class Sent(list):
    """A publisher that keeps what it is given."""

    publish = list.append


class StandInNode:
    def __init__(self):
        self.topics = {}

    def create_publisher(self, kind, topic, profile):
        return self.topics.setdefault(topic, Sent())


@pytest.fixture(scope="module")
def outputs():
    arm = RealArm()
    arm.move(0.3)
    return arm.outputs


def test_a_window_keeps_its_numbers_and_its_time(outputs):
    window = next(output.window for output in reversed(outputs) if output.window is not None)
    message = window_to_message(window, ROBOT, window.stamp_ns + OFFSET_NS)
    assert list(message.joint_names) == list(ROBOT.joint_names)
    first_ns = messages.nanoseconds(message.header.stamp)
    stamps = [first_ns + messages.nanoseconds(point.time_from_start) - OFFSET_NS for point in message.points]
    assert stamps == window.stamps_ns.tolist()
    for key, rows in (
        ("positions", window.positions_rad),
        ("velocities", window.velocities_rad_s),
        ("accelerations", window.accelerations_rad_s2),
    ):
        np.testing.assert_array_equal([getattr(point, key) for point in message.points], rows)


def test_windows_go_to_the_controller_of_the_robot_file_and_nowhere_else(outputs):
    node = StandInNode()
    output = command_output(node, ROBOT, ROBOT.real)
    assert isinstance(output, Windows)
    for one in outputs:
        output.publish(None, one, StampClock(OFFSET_NS))
    assert list(node.topics) == ["fr3_arm_controller/joint_trajectory"]
    assert len(node.topics[command_topic(ROBOT, ROBOT.real)]) == sum(one.window is not None for one in outputs) > 20


def test_what_stands_in_for_a_robot_is_sent_every_set_point():
    node = StandInNode()
    output = command_output(node, ROBOT, None)
    assert isinstance(output, SetPoints)
    output.publish("set-point", SimpleNamespace(heard=True), StampClock(0))
    assert node.topics == {"sim_controller/joint_trajectory": ["set-point"]}


def test_a_bridge_is_sent_every_set_point_while_it_obeys(monkeypatch):
    monkeypatch.setattr(hardware, "refuse_ros_wheels", lambda: None)
    node, robot = StandInNode(), load_contract("x1_towel_fold").robot
    output = command_output(node, robot, wanted_drive("real", robot, stepped=False))
    for heard in (True, False, True):
        output.publish(heard, SimpleNamespace(heard=heard), StampClock(0))
    assert node.topics == {"x1_bridge/set_points": [True, True]}


def test_a_bridge_without_a_robot_is_sent_them_where_no_robot_listens():
    robot = load_contract("x1_towel_fold").robot
    drive = wanted_drive("bridge_mock", robot, stepped=False)
    assert command_topic(robot, drive) == robot.sim_command_topic != robot.bridge.command_topic


def test_poses_come_at_their_rate_and_only_while_the_controller_obeys(outputs):
    real = dataclasses.replace(ROBOT.real, output="pose", command_topic="target_pose", pose_rate_hz=50.0)
    node = StandInNode()
    output = command_output(node, ROBOT, real)
    assert isinstance(output, Poses)
    moving = [dataclasses.replace(one, heard=True) for one in outputs[-100:]]
    for one in moving:
        output.publish(None, one, StampClock(OFFSET_NS))
    sent = node.topics["target_pose"]
    assert len(sent) == 20
    assert sent[-1].header.frame_id == "fr3_link0"
    position = sent[-1].pose.position
    np.testing.assert_allclose([position.x, position.y, position.z], moving[-1].poses["arm"].position_m, atol=1e-12)
    for one in moving:
        output.publish(None, dataclasses.replace(one, heard=False), StampClock(OFFSET_NS))
    assert len(sent) == 20


def test_without_its_interfaces_a_real_robot_is_refused():
    if importlib.util.find_spec("control_msgs") is not None:
        pytest.skip("control_msgs is installed")
    with pytest.raises(EnvironmentLacks, match=r"control_msgs.msg.JointTrajectoryControllerState.*install control_msgs"):
        robot_interfaces()


def test_the_executor_itself_keeps_the_ros_wheels_away_from_hardware():
    assert wanted_drive("sim", ROBOT, stepped=True) is None
    if importlib.util.find_spec("ros_wheels_bootstrapper") is None:
        pytest.skip("this ROS 2 is an official one")
    with pytest.raises(EnvironmentLacks, match="nobody signs for"):
        wanted_drive("real", ROBOT, stepped=False)


@pytest.mark.parametrize(
    ("wanted", "robot", "stepped", "expected"),
    [
        ("reel", "franka_fr3", False, "parameter hardware: expected sim, real or bridge_mock, got 'reel'"),
        ("real", "franka_fr3", True, "cannot be in lock step"),
        ("real", "franka_panda", False, "robot franka_panda has no driver"),
        ("bridge_mock", "franka_fr3", False, "robot franka_fr3 has no bridge"),
        ("bridge_mock", "franka_fr3", True, "bridge_mock cannot be in lock step"),
    ],
)
def test_what_the_executor_refuses_with_an_official_ros(monkeypatch, wanted, robot, stepped, expected):
    monkeypatch.setattr(hardware, "refuse_ros_wheels", lambda: None)
    with pytest.raises(UserMistake, match=expected):
        wanted_drive(wanted, load_contract(TASK, robot).robot, stepped)


def test_flags_are_named():
    from lawam_ros.nodes.robot_link import errors_in_words

    flags = SimpleNamespace(get_fields_and_field_types=lambda: {"joint_reflex": "", "power_limit_violation": ""}, joint_reflex=True)
    flags.power_limit_violation = False
    assert errors_in_words(flags) == "joint_reflex"
