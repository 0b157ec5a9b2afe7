"""The bridge's way through the vendor's SDK, against a mock that behaves as its documents say, and against one that does not."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from two_armed import ROBOT, URDF

from lawam_ros.contract.errors import EnvironmentLacks, LawamError, UserMistake
from lawam_ros.contract.records import JointCommand
from lawam_ros.control.bridge_guard import FOLLOWING, LATCHED, BridgeGuard
from lawam_ros.control.robot_report import SendRefused
from lawam_ros.nodes.x1_sdk import SdkBackEnd, vendor_sdk
from lawam_ros.observe.image import jpeg_from_rgb
from lawam_ros.sim.x1_mock import MockX1, mock_sdk

HOME = np.concatenate([arm.home_rad for arm in ROBOT.arms])
OPEN = {arm.name: arm.gripper.opening_max_m for arm in ROBOT.arms}
SLOW = replace(ROBOT.bridge, state_age_s=0.5, command_age_s=0.5)
"""Budgets for a machine that others use as well; what they are for is tested on stepped time with the guard alone."""


@pytest.fixture
def mock():
    mock = MockX1(ROBOT, URDF)
    yield mock
    mock.close()


@pytest.fixture
def back_end(mock):
    back_end = SdkBackEnd(ROBOT, ROBOT.bridge, URDF, mock_sdk(mock))
    back_end.open()
    yield back_end
    back_end.close()


def eventually(condition, timeout_s=20.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.005)


def complete(back_end):
    report = back_end.report()
    return np.all(np.isfinite(report.joints_rad)) and len(report.openings_m) == 2 and report.battery_percent is not None


def command(positions=HOME, opening_m=OPEN, stamp_ns=0):
    return JointCommand(stamp_ns, np.array(positions), np.zeros(12), np.zeros(12), dict(opening_m))


def test_what_is_read_is_in_our_units_and_a_row_more_changes_nothing(mock, back_end):
    eventually(lambda: complete(back_end))
    report = back_end.report()
    np.testing.assert_allclose(report.joints_rad, HOME)
    assert report.openings_m == pytest.approx(OPEN)
    assert (report.battery_percent, report.trouble) == (80.0, "")
    assert set(report.stamps_ns) == {"left_arm", "left_gripper", "right_arm", "right_gripper"}
    assert len(mock.left_arm.get_joint_states().position) == 7
    assert back_end.bad_messages[0] == 0


def test_taking_over_sets_the_modes_and_moves_nothing(mock, back_end):
    back_end.begin()
    assert (mock.work_mode, mock.control_mode, mock.commands) == (3, 1, [])


def test_commands_reach_both_arms_and_the_grippers_in_motor_radians(mock, back_end):
    back_end.begin()
    back_end.send(command(HOME + 0.01, {"left": 0.0, "right": 0.034}))
    back_end.send(command(HOME + 0.02, {"left": 0.0, "right": 0.034}))
    groups = [group for _, group, _ in mock.commands]
    assert groups == ["left_arm", "right_arm", "left_gripper", "right_gripper", "left_arm", "right_arm"]  # grippers only when they move
    np.testing.assert_allclose(mock.commands[0][2], HOME[:6] + 0.01)
    np.testing.assert_allclose(mock.commands[1][2], HOME[6:] + 0.01)
    assert mock.commands[3][2][0] == pytest.approx(0.034 / 0.01705388)
    eventually(lambda: np.allclose(back_end.report().joints_rad, HOME + 0.02, atol=1e-3))
    eventually(lambda: back_end.report().openings_m["left"] < 1e-3)


def test_the_last_command_holds(mock, back_end):
    back_end.begin()
    back_end.send(command(HOME + 0.01))
    eventually(lambda: np.allclose(back_end.report().joints_rad, HOME + 0.01, atol=1e-4))
    time.sleep(0.1)
    np.testing.assert_allclose(back_end.report().joints_rad, HOME + 0.01, atol=1e-4)


@pytest.mark.parametrize(("shift", "turn"), [((0.01, 0, 0), 0.0), ((0.1185, 0.0025, 0.181), 0.0), ((0, 0, 0), 0.1)])
def test_an_end_pose_in_another_frame_keeps_the_bridge_from_starting(mock, back_end, shift, turn):
    honest = mock.right_arm.get_end_pose

    def shifted(timeout=None):
        pose = honest().pose
        position = SimpleNamespace(x=pose.position.x + shift[0], y=pose.position.y + shift[1], z=pose.position.z + shift[2])
        w = np.cos(turn / 2) * pose.orientation.w
        orientation = SimpleNamespace(**(vars(pose.orientation) | ({"x": np.sin(turn / 2), "w": w} if turn else {})))
        return SimpleNamespace(pose=SimpleNamespace(position=position, orientation=orientation))

    mock.right_arm.get_end_pose = shifted
    with pytest.raises(UserMistake, match="right arm: expected the robot's end pose within 0.005 m and 0.035 rad"):
        back_end.begin()
    assert mock.work_mode == 0


def test_a_robot_that_is_not_idle_is_not_taken_over(mock, back_end):
    mock.system.set_work_mode = lambda mode, timeout=None: SimpleNamespace(is_success=False, error_message="in COLLECT mode")
    with pytest.raises(LawamError, match="expected the robot to enter SDK mode, it refused: in COLLECT mode; it must be idle before"):
        back_end.begin()


def test_another_robot_or_none_is_refused(mock):
    mock.system.get_model_type = lambda timeout=None: SimpleNamespace(model_type=3)
    with pytest.raises(UserMistake, match="expected a Quanta X1"):
        SdkBackEnd(ROBOT, ROBOT.bridge, URDF, mock_sdk(mock)).open()

    def nobody(address):
        raise ConnectionError("nobody there")

    sdk = SimpleNamespace(connect=nobody)
    with pytest.raises(LawamError, match=r"expected a robot at x2://192\.168\.10\.1:50051, got ConnectionError: nobody there"):
        SdkBackEnd(ROBOT, ROBOT.bridge, URDF, sdk).open()


def test_the_vendors_package_is_named_when_it_is_missing():
    with pytest.raises(EnvironmentLacks, match="needs the vendor's package x2robot"):
        vendor_sdk()


def test_refusals_and_calls_that_hang_are_told(mock, back_end):
    back_end.begin()
    mock.refusing.add("right_arm")
    with pytest.raises(SendRefused, match=r"right_arm\.set_joint_positions: refused"):
        back_end.send(command())
    mock.refusing.clear()
    mock.hanging.clear()
    started_s = time.monotonic()
    with pytest.raises(SendRefused, match=r"left_arm\.set_joint_positions: TimeoutError"):
        back_end.send(command())
    assert time.monotonic() - started_s < 5.0


@pytest.mark.parametrize(
    "reply",
    [None, "ok", SimpleNamespace(), SimpleNamespace(is_success=None, error_message=""), SimpleNamespace(is_success="no", error_message=7)],
)
def test_a_reply_that_does_not_say_yes_is_a_refusal(mock, back_end, reply):
    back_end.begin()
    mock.right_arm.set_joint_positions = lambda parameter, timeout=None: reply
    with pytest.raises(SendRefused, match=r"right_arm\.set_joint_positions: "):
        back_end.send(command())
    mock.system.set_work_mode = lambda parameter, timeout=None: reply
    with pytest.raises(LawamError, match="expected the robot to enter SDK mode, "):
        back_end.begin()


@pytest.mark.parametrize("coordinate", [None, "far", float("nan")])
def test_an_end_pose_that_is_none_keeps_the_bridge_from_starting(mock, back_end, coordinate):
    told = mock.left_arm.get_end_pose()
    told.pose.position.x = coordinate
    mock.left_arm.get_end_pose = lambda timeout=None: told
    with pytest.raises(LawamError, match="left arm: expected the robot's end pose|expected joints and end pose of the left arm"):
        back_end.begin()


@pytest.mark.parametrize("level", [None, "full", [80.0]])
def test_a_battery_level_that_is_no_number_is_not_known(mock, level):
    mock.battery = level
    back_end = SdkBackEnd(ROBOT, ROBOT.bridge, URDF, mock_sdk(mock))
    back_end.open()
    try:
        eventually(lambda: "battery: TypeError" in back_end.bad_messages[1] or "battery: ValueError" in back_end.bad_messages[1])
        assert back_end.report().battery_percent is None
    finally:
        back_end.close()


@pytest.mark.parametrize(
    "odd",
    [
        {"position": [None] * 7},
        {"position": None},
        {"name": [[]] * 7},
        {"header": SimpleNamespace(stamp=None)},
        {"header": SimpleNamespace(stamp=SimpleNamespace(sec=float("nan"), nanosec=0))},
    ],
)
def test_a_message_that_is_none_ends_its_stream_alone_and_it_is_read_again(mock, back_end, odd):
    eventually(lambda: complete(back_end))
    mock.odd["left_arm"] = lambda message: SimpleNamespace(**(vars(message) | odd))
    eventually(lambda: "left_arm: stream ended" in back_end.bad_messages[1])
    before = back_end.report().stamps_ns
    eventually(lambda: back_end.report().stamps_ns["right_arm"] > before["right_arm"])
    assert back_end.report().stamps_ns["left_arm"] == before["left_arm"]
    mock.odd.clear()
    eventually(lambda: back_end.report().stamps_ns["left_arm"] > before["left_arm"])


def test_a_million_joints_are_one_bad_message_in_a_short_sentence(mock, back_end):
    mock.odd["left_arm"] = lambda message: SimpleNamespace(
        header=message.header, name=[f"joint{k}" for k in range(1_000_000)], position=[0.0]
    )
    eventually(lambda: back_end.bad_messages[0] > 0)
    assert len(back_end.bad_messages[1]) < 500


@pytest.mark.parametrize(
    "change",
    [
        lambda message: SimpleNamespace(**(vars(message) | {"name": message.name[:3]})),
        lambda message: SimpleNamespace(**(vars(message) | {"name": [message.name[0]] * 7})),
        lambda message: SimpleNamespace(**(vars(message) | {"position": message.position[:-1]})),
        lambda message: SimpleNamespace(**(vars(message) | {"name": [f"x_{name}" for name in message.name]})),
    ],
)
def test_joint_states_that_lack_a_joint_are_no_news(mock, back_end, change):
    eventually(lambda: complete(back_end))
    mock.odd["left_arm"] = change
    eventually(lambda: back_end.bad_messages[0] > 3)
    before = back_end.report().stamps_ns
    eventually(lambda: back_end.report().stamps_ns["right_arm"] > before["right_arm"] + 50_000_000)
    assert back_end.report().stamps_ns["left_arm"] == before["left_arm"]
    assert "left_arm: expected positions of left_arm_joint1" in back_end.bad_messages[1]


def test_joints_in_another_order_are_read_by_name(mock, back_end):
    mock.odd["left_arm"] = lambda m: SimpleNamespace(header=m.header, name=m.name[::-1], position=m.position[::-1])
    eventually(lambda: complete(back_end))
    np.testing.assert_allclose(back_end.report().joints_rad, HOME)


def test_a_stream_that_breaks_off_is_read_again(mock, back_end):
    eventually(lambda: complete(back_end))
    broken = threading.Event()

    def breaks(message):
        if not broken.is_set():
            broken.set()
            raise ConnectionError("stream reset")
        return message

    mock.odd["left_arm"] = breaks
    eventually(broken.is_set)
    stamp = back_end.report().stamps_ns["left_arm"]
    eventually(lambda: back_end.report().stamps_ns["left_arm"] > stamp)


def test_pictures_come_in_the_contracts_size_and_broken_ones_are_named(mock, back_end):
    mock.jpeg = jpeg_from_rgb(np.full((480, 640, 3), 90, np.uint8), 90)
    seen = {}
    cameras = back_end.show(lambda camera, rgb: seen.setdefault(camera.name, rgb.shape))
    try:
        eventually(lambda: len(seen) == 3)
        assert set(seen) == {"front", "left_wrist", "right_wrist"} and set(seen.values()) == {(240, 320, 3)}
        mock.jpeg = b"garbage"
        eventually(lambda: len(cameras.problems) == 3)
        assert "expected a JPEG or PNG image" in cameras.problems["front"]
        mock.jpeg = jpeg_from_rgb(np.full((240, 320, 3), 90, np.uint8), 90)
        eventually(lambda: not cameras.problems)
    finally:
        cameras.close()


class Loop:
    """Guard and back end in a loop at the bridge's rate, as the node runs them."""

    def __init__(self, back_end):
        self.guard = BridgeGuard(ROBOT, SLOW)
        self._back_end = back_end

    def run(self, cycles, positions=None):
        """positions: of a cycle; None for no command."""
        for k in range(cycles):
            now_ns = time.monotonic_ns()
            self.guard.hear(self._back_end.report(), now_ns)
            if positions is not None:
                self.guard.take(command(positions(k), stamp_ns=now_ns), 0.0, now_ns)
            given = self.guard.cycle(now_ns)
            if given is not None:
                try:
                    self._back_end.send(given)
                    self.guard.sent(True)
                except SendRefused:
                    self.guard.sent(False)
            time.sleep(1.0 / SLOW.rate_hz)


@pytest.fixture
def loop(mock, back_end):
    eventually(lambda: complete(back_end))
    back_end.begin()
    loop = Loop(back_end)
    loop.run(10, lambda k: HOME)
    assert loop.guard.state == FOLLOWING and loop.guard.dropped == 0
    return loop


def test_no_group_is_called_too_often(mock, loop):
    loop.run(20, lambda k: HOME)
    times = [t for t, group, _ in mock.commands if group == "left_arm"]
    assert len(times) >= 30 and np.diff(times).min() >= 1.0 / 200.0
    assert mock.too_fast == 0


@pytest.mark.parametrize("side", ["left", "right"])
def test_one_arm_that_falls_silent_or_refuses_stops_both(mock, loop, side):
    mock.refusing.add(f"{side}_arm")
    loop.run(10, lambda k: HOME)
    assert (loop.guard.state, loop.guard.reason) == (LATCHED, "robot_refuses")
    mock.refusing.clear()
    assert loop.guard.reset(time.monotonic_ns()) == ""
    loop.run(5, lambda k: HOME)
    assert loop.guard.state == FOLLOWING
    mock.silent.add(f"{side}_arm")
    loop.run(150, lambda k: HOME)
    assert (loop.guard.state, loop.guard.reason) == (LATCHED, "robot_silent")
    assert f"{side}_arm is silent" in loop.guard.reset(time.monotonic_ns())


def test_a_battery_that_runs_down_stops_both_arms(mock, loop):
    mock.battery = 11.0
    eventually(lambda: (loop.run(5, lambda k: HOME), loop.guard.state == LATCHED)[1])
    assert loop.guard.reason == "battery_low"
    assert "below 7 % they fall" in loop.guard.reset(time.monotonic_ns())


def test_calls_that_hang_stop_the_arms_and_nothing_is_sent_meanwhile(mock, loop):
    count = len(mock.commands)
    mock.hanging.clear()
    loop.run(6, lambda k: HOME)
    assert (loop.guard.state, loop.guard.reason) == (LATCHED, "robot_refuses")
    assert len(mock.commands) == count
