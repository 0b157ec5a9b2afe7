"""The bridge as a node, with the mock behind it, and its way through the robot's own topics."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import BatteryState, Image, JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from two_armed import ROBOT, URDF

from lawam_ros.contract.bridge import ACTIVE_TOPIC
from lawam_ros.contract.errors import EXIT_ENVIRONMENT_LACKS, EXIT_USER_MISTAKE, LawamError, UserMistake
from lawam_ros.contract.installation import refuse_ros_wheels
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import JointCommand
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.official_rows import official_arms, official_vector
from lawam_ros.nodes import bridge_link, messages, qos, x1_back_ends
from lawam_ros.nodes.bridge_link import BridgeLink
from lawam_ros.nodes.message_executor import MessageExecutor
from lawam_ros.nodes.x1_bridge import X1BridgeNode
from lawam_ros.nodes.x1_topics import TopicsBackEnd

TASK = "x1_towel_fold"
HOME = np.concatenate([arm.home_rad for arm in ROBOT.arms])
OPEN = {arm.name: 0.05 for arm in ROBOT.arms}
PATIENT = "robot.bridge.command_age_s=0.5;robot.bridge.state_age_s=0.5"
"""On a machine that others use as well; the budgets themselves are tested on stepped time."""


class Hands:
    """What stands around the bridge in this process. ``commands``: set-points go out at 100 Hz while it is true."""

    def __init__(self, node):
        self.node = node
        self.executor = MessageExecutor()
        self.executor.add_node(node)
        self.mine = rclpy.create_node("hands")
        self.executor.add_node(self.mine)
        self.out = self.mine.create_publisher(JointTrajectory, "sim_controller/joint_trajectory", qos.COMMAND)
        self.joints, self.active = [], []
        self.mine.create_subscription(JointState, "joint_states", self.joints.append, qos.SENSOR)
        self.mine.create_subscription(Bool, ACTIVE_TOPIC, lambda message: self.active.append(message.data), qos.RECORDED_LATCHED)
        self.speaks = False
        self.positions = HOME
        self.mine.create_timer(0.01, self._speak)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    def _speak(self):
        if self.speaks:
            self.say(self.positions)

    def say(self, positions):
        command = JointCommand(0, np.array(positions), np.zeros(12), np.zeros(12), OPEN)
        stamp_ns = self.mine.get_clock().now().nanoseconds
        self.out.publish(messages.command_to_message(command, ROBOT, stamp_ns, messages.command_names(ROBOT)))

    @property
    def guard(self):
        return self.node._guard

    def wait(self, condition, what, seconds=30.0):
        deadline_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline_s, f"waited for {what}; {self.guard.state}: {self.guard.reason}, {self.guard.dropped_reason}"
            time.sleep(0.01)

    def trigger(self, name):
        client = self.mine.create_client(Trigger, name)
        assert client.wait_for_service(10.0)
        done = threading.Event()
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: done.set())
        assert done.wait(10.0)
        return future.result()


def started(*parameters):
    values = [f"task:={TASK}", "robot:=quanta_x1", f"overrides:='{PATIENT}'", "autostart:=false", *parameters]
    rclpy.init(args=["--ros-args", *(part for value in values for part in ("-p", value))])
    return X1BridgeNode()


@pytest.fixture
def hands():
    hands = Hands(started())
    yield hands
    hands.speaks = False
    # Nothing spins when the node closes: a service that goes while it is waited on raises in the spinning thread.
    hands.executor.shutdown(timeout_sec=10.0)
    hands.thread.join(timeout=10.0)
    hands.node.close()
    hands.mine.destroy_node()
    hands.node.destroy_node()
    rclpy.try_shutdown()


def activated(hands):
    hands.node.trigger_configure()
    hands.wait(lambda: not hands.guard.problem(time.monotonic_ns()), "the mock's state")
    hands.node.trigger_activate()
    hands.speaks = True
    hands.wait(lambda: hands.guard.following, "set-points to be followed")


def test_set_points_reach_the_robot_and_its_joints_come_back(hands):
    activated(hands)
    hands.wait(lambda: hands.active[-1:] == [True], "word that the robot obeys")
    hands.positions = HOME + 1e-6
    hands.wait(lambda: len(hands.joints) > 20, "joint states")
    heard = dict(zip(hands.joints[-1].name, hands.joints[-1].position, strict=True))
    np.testing.assert_allclose([heard[name] for name in ROBOT.joint_names], HOME, atol=1e-3)
    hands.wait(lambda: abs(hands.joints[-1].position[12] - 0.05 / 0.01705388) < 0.02, "the gripper's motor")


def test_pictures_of_every_camera_are_published(hands):
    seen = set()
    for camera in ROBOT.cameras:
        hands.mine.create_subscription(Image, camera.topic, lambda m, name=camera.name: seen.add((name, m.width, m.height)), qos.IMAGE_IN)
    hands.node.trigger_configure()
    hands.wait(lambda: len(seen) == 3, "pictures")
    assert seen == {(camera.name, camera.width, camera.height) for camera in ROBOT.cameras}


def test_a_stop_latches_says_so_and_ends_with_reset(hands):
    activated(hands)
    assert hands.trigger("x1_bridge/stop").success
    hands.wait(lambda: hands.guard.state == "LATCHED", "LATCHED")
    hands.wait(lambda: hands.active[-1] is False, "word that the robot does not obey")
    assert hands.guard.reason == "stop_requested" and "stop_requested" in hands.node.report()[0]
    assert hands.trigger("x1_bridge/reset").success
    hands.wait(lambda: hands.guard.following, "set-points to be followed again")


def test_bad_messages_are_dropped_and_counted(hands):
    activated(hands)
    hands.out.publish(JointTrajectory(joint_names=["left_arm_joint1"]))
    hands.say(np.full(12, np.nan))
    hands.wait(lambda: hands.node._bad_commands == 1 and hands.guard.dropped >= 1, "two bad messages")
    assert hands.guard.following


def test_somebody_else_who_publishes_set_points_stops_the_arms(hands):
    activated(hands)
    other = hands.mine.create_publisher(JointTrajectory, "sim_controller/joint_trajectory", qos.COMMAND)
    hands.wait(lambda: hands.guard.state == "LATCHED", "LATCHED")
    assert hands.guard.reason == "second_command_publisher"
    hands.mine.destroy_publisher(other)


def test_a_second_bridge_stops_the_arms(hands):
    activated(hands)
    other = hands.mine.create_publisher(Bool, ACTIVE_TOPIC, qos.LATCHED)
    hands.wait(lambda: hands.guard.state == "LATCHED", "LATCHED")
    assert hands.guard.reason == "second_bridge"
    hands.mine.destroy_publisher(other)


def test_what_the_robot_was_told_is_published_with_every_cycle(hands):
    told = []
    hands.mine.create_subscription(JointState, "x1_bridge/reference", told.append, qos.BEAT)
    activated(hands)
    hands.wait(lambda: len(told) > 20, "references")
    hands.positions = HOME + 1e-6
    hands.wait(lambda: told[-1].position[0] == HOME[0] + 1e-6, "the last set-point")
    assert list(told[-1].name) == list(ROBOT.joint_names)


def test_commands_go_on_while_the_middleware_holds_up_what_is_told(hands, monkeypatch):
    activated(hands)
    held, free = threading.Event(), threading.Event()
    publish = hands.node._joint_states.publish

    def slow(message):
        held.set()
        assert free.wait(30.0)
        publish(message)

    monkeypatch.setattr(hands.node._joint_states, "publish", slow)
    assert held.wait(30.0)
    heard, cycles = len(hands.joints), hands.node._tick.ticks
    hands.wait(lambda: hands.node._tick.ticks > cycles + 50, "cycles")
    assert hands.guard.following
    free.set()
    hands.wait(lambda: len(hands.joints) > heard + 2, "joint states")
    now_ns = hands.mine.get_clock().now().nanoseconds
    assert now_ns - messages.nanoseconds(hands.joints[-1].header.stamp) < 1e9


@pytest.fixture
def link(hands):
    """Of an executor with the same contract."""
    made = BridgeLink(hands.node, load_contract(TASK, None, PATIENT.split(";")), ROBOT.bridge, lambda say: None)
    yield made
    made.close()


def test_the_executor_takes_no_other_back_end_and_no_other_contract(hands, link):
    link.check(("mock",))
    with pytest.raises(UserMistake, match="expected x1_bridge with back end sdk or topics, it has mock"):
        link.check(("sdk", "topics"))
    other = BridgeLink(hands.node, load_contract(TASK), ROBOT.bridge, lambda say: None)
    try:
        with pytest.raises(UserMistake, match="expected x1_bridge with our task, robot and overrides, it has task:=x1_towel_fold"):
            other.check(("mock",))
    finally:
        other.close()


def test_recovery_restarts_a_bridge_that_obeys_or_is_latched_and_says_what_keeps_it(hands, link, monkeypatch):
    monkeypatch.setattr(bridge_link, "_RECOVERY_S", 1.0)
    activated(hands)
    hands.wait(lambda: link.report()["bridge"] == "obeys", "word of the bridge")
    hands.active.clear()
    assert link.recover() == ""
    hands.wait(lambda: hands.active == [False, True], "a restart")
    hands.node._back_end._client.battery = 5.0
    hands.wait(lambda: hands.guard.state == "LATCHED", "LATCHED")
    assert "x1_bridge/reset: battery at 5 %" in link.recover()


def test_deactivation_ends_the_following(hands):
    activated(hands)
    hands.node.trigger_deactivate()
    assert (hands.guard.state, hands.guard.reason) == ("LATCHED", "deactivated")
    hands.node.trigger_activate()
    hands.wait(lambda: hands.guard.following, "set-points to be followed again")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        (["backend:=wire"], EXIT_USER_MISTAKE),
        (["robot:=franka_panda", "task:=franka_pick_place", "overrides:=''"], EXIT_USER_MISTAKE),
        (["backend:=topics"], EXIT_USER_MISTAKE),
        (["backend:=sdk"], EXIT_ENVIRONMENT_LACKS),
    ],
)
def test_what_cannot_be_is_refused_at_configure(parameters, code, monkeypatch):
    """As on an official ROS 2 without the vendor's package."""
    monkeypatch.setattr(x1_back_ends, "refuse_ros_wheels", lambda: None)
    node = started("autostart:=true", *parameters)
    executor = MessageExecutor()
    executor.add_node(node)
    try:
        deadline_s = time.monotonic() + 20.0
        while not node.finished.is_set() and time.monotonic() < deadline_s:
            executor.spin_once(timeout_sec=0.1)
        assert node.exit_code == code
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def test_a_real_robot_is_refused_on_the_ros_wheels():
    try:
        refuse_ros_wheels()
    except LawamError as error:
        assert error.exit_code == EXIT_ENVIRONMENT_LACKS
    else:
        pytest.skip("an official ROS 2 is installed here")
    node = started("backend:=sdk")
    try:
        assert "refused" not in node.get_name()
        node.trigger_configure()
        assert node._back_end is None and node._guard is None
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


@pytest.fixture
def robot_side():
    """A back end on the robot's topics, and the robot's side of them."""
    rclpy.init()
    bridge = replace(ROBOT.bridge, battery_topic="/battery")
    mine, theirs = rclpy.create_node("bridge"), rclpy.create_node("robot")
    executor = MessageExecutor()
    for node in (mine, theirs):
        executor.add_node(node)
    back_end = TopicsBackEnd(mine, ROBOT, bridge, URDF)
    back_end.open()
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield back_end, theirs, bridge
    executor.shutdown(timeout_sec=10.0)
    thread.join(timeout=10.0)
    for node in (mine, theirs):
        node.destroy_node()
    rclpy.try_shutdown()


def eventually(condition, seconds=20.0):
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.01)


def test_the_robots_topics_are_heard_and_spoken_in_its_units(robot_side):
    back_end, theirs, bridge = robot_side
    with pytest.raises(LawamError, match="expected the robot to listen to /left_arm_cartesian_controller/pose_cmd, nobody does"):
        back_end.begin()
    poses, motors = {}, {}
    for name, topics in bridge.topics.items():
        theirs.create_subscription(PoseStamped, topics.pose_command, lambda m, name=name: poses.__setitem__(name, m), 10)
        theirs.create_subscription(Float64MultiArray, topics.gripper_command, lambda m, name=name: motors.__setitem__(name, m), 10)
    publishers = [
        (theirs.create_publisher(JointState, getattr(bridge.topics[arm.name], field), 10), joints)
        for arm in ROBOT.arms
        for field, joints in (("joint_states", arm.joints), ("gripper_joint_states", arm.gripper.joints))
    ]
    battery = theirs.create_publisher(BatteryState, "/battery", 10)

    def heard():
        for publisher, joints in publishers:
            stamp_ns = time.monotonic_ns()
            positions = dict.fromkeys(joints, 0.5)
            publisher.publish(messages.joint_state_to_message(stamp_ns, positions, positions))
        battery.publish(BatteryState(percentage=0.6))
        report = back_end.report()
        return np.all(report.joints_rad == 0.5) and len(report.openings_m) == 2 and report.battery_percent is not None

    eventually(heard)
    assert back_end.report().battery_percent == pytest.approx(60.0, abs=1e-3)
    eventually(lambda: _begins(back_end))
    eventually(lambda: (back_end.send(JointCommand(1, HOME, HOME * 0, HOME * 0, OPEN)), len(poses) == len(motors) == 2)[1])
    chains = {arm.name: Chain.from_urdf(URDF, arm.base_frame, arm.tcp_frame) for arm in ROBOT.arms}
    rows = {}
    for arm in ROBOT.arms:
        pose = chains[arm.name].pose(HOME[ROBOT.joint_slice(arm.name)])
        rows[arm.name] = np.concatenate([pose.position_m, pose.quat_xyzw, [0.05]])
    vector = official_vector(official_arms(ROBOT, URDF), rows)
    for i, arm in enumerate(ROBOT.arms):
        told = messages.pose_from_message(poses[arm.name])
        np.testing.assert_allclose(told.position_m, vector[7 * i : 7 * i + 3], atol=1e-9)
        assert motors[arm.name].data[0] == pytest.approx(vector[7 * i + 6])


def _begins(back_end):
    try:
        back_end.begin()
    except LawamError:
        return False
    return True


def test_somebody_else_who_commands_the_robot_keeps_the_bridge_from_starting(robot_side):
    back_end, theirs, bridge = robot_side
    theirs.create_publisher(PoseStamped, bridge.topics["left"].pose_command, 10)

    def refused():
        try:
            back_end.begin()
        except LawamError as error:
            return "expected 1 publisher of /left_arm_cartesian_controller/pose_cmd, found 2" in str(error)
        return False

    eventually(refused)
    assert "expected 1 publisher of /left_arm_cartesian_controller/pose_cmd" in back_end.others()


def test_without_a_battery_topic_nothing_moves():
    with pytest.raises(UserMistake, match="the arms fall when the battery is low, so nothing moves without knowing it"):
        TopicsBackEnd(None, ROBOT, ROBOT.bridge, URDF)
