"""Addresses of servers, and what their actions are told to mean."""

from pathlib import Path

import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.rotations import quat_from_rotvec, quat_from_rpy, quat_multiply, rotvec_from_quat
from lawam_ros.policies.remote.action_meaning import ActionMeaning, meaning_named
from lawam_ros.policies.remote.address import is_remote, remote_address

REFERENCE = np.array([0.4, 0.0, 0.3, *quat_from_rpy(np.array([np.pi, 0.0, 0.2])), 0.05])


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("LAWAM_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("text", "remote"), [("ws://a", True), ("tcp://a:1", True), ("https://a", True), ("owner/name", False), ("recorded:x#1", False)]
)
def test_servers_are_told_from_checkpoints(text, remote):
    assert is_remote(text) is remote


def test_an_address_with_everything(monkeypatch):
    monkeypatch.setenv("LAWAM_TOKEN", " secret \n")
    address = remote_address("http://gpu:99?actions=pose_rpy&gripper=opening_m&action_hz=5&timeout_s=2&statistics=a/b.json&tag=franka")
    assert (address.scheme, address.host, address.port, address.text) == ("http", "gpu", 99, "http://gpu:99")
    assert (address.actions, address.gripper, address.action_hz, address.timeout_s) == ("pose_rpy", "opening_m", 5.0, 2.0)
    assert (address.statistics, address.tag, address.token) == (Path("a/b.json"), "franka", "secret")


@pytest.mark.parametrize(("text", "port"), [("ws://h", 10093), ("http://h/", 9876), ("tcp://[::1]", 57770)])
def test_ports_of_the_official_servers_are_the_default(text, port):
    assert remote_address(text).port == port


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("wss://h", "through a tunnel"),
        ("ws://", "expected ws://host:port"),
        ("ws://h:99999", "expected ws://host:port"),
        ("ws://user@h", "expected ws://host:port"),
        ("http://h/act", "expected http://host:port"),
        ("ws://h?token=secret", "expected each of actions, gripper.* got token"),
        ("ws://h?actions=libero&actions=libero", "got one twice"),
        ("ws://h?actions=joints", "actions: expected libero, pose_rpy, step_rotvec"),
        ("ws://h?gripper=", "gripper: expected opening_m"),
        ("ws://h?timeout_s=0", "timeout_s: expected a number"),
        ("ws://h?action_hz=nan", "action_hz: expected a number"),
        ("ws://h?actions", "expected ws://host:port"),
    ],
)
def test_wrong_addresses_are_refused_by_part(text, match):
    with pytest.raises(UserMistake, match=match):
        remote_address(text)


@pytest.mark.parametrize(
    ("actions", "gripper", "match"),
    [
        ("", "", "does not say what its actions mean; expected \\?actions="),
        ("pose_rpy", "", "leaves the gripper open; expected &gripper="),
        ("libero", "opening_m", "has its own gripper \\(close_01\\)"),
    ],
)
def test_what_is_left_open_is_asked_for(actions, gripper, match):
    with pytest.raises(UserMistake, match=match):
        meaning_named(actions, gripper)


def test_absolute_poses_are_taken_as_they_are_with_the_references_sign():
    actions = np.array([[0.5, 0.1, 0.2, -np.pi, 0.0, 0.2, 0.03], [0.5, 0.1, 0.2, np.pi - 1e-6, 0.0, 0.2, 9.0]])
    rows = meaning_named("pose_rpy", "opening_m").rows(actions, REFERENCE, 0.08)
    np.testing.assert_allclose(rows[:, :3], actions[:, :3])
    assert np.all(rows[:, 3:7] @ REFERENCE[3:7] > 0.999999)
    assert rows[:, 7].tolist() == [0.03, 0.08]


def test_steps_add_up_from_the_commanded_pose_along_the_axes_of_the_base():
    steps = np.zeros((3, 7))
    steps[:, 2], steps[:, 5] = 0.01, 0.1
    rows = meaning_named("step_rotvec", "opening_m").rows(steps, REFERENCE, 0.08)
    np.testing.assert_allclose(rows[:, 2], [0.31, 0.32, 0.33])
    turned = quat_multiply(quat_from_rotvec(np.array([0.0, 0.0, 0.3])), REFERENCE[3:7])
    assert abs(rows[2, 3:7] @ turned) == pytest.approx(1.0)


def test_liberos_steps_are_those_of_its_controller_and_1_closes():
    steps = np.array([[1.0, 0, 0, 0, 0, -1.0, 1.0], [0, 0, 0, 0, 0, 0, 0.0]])
    rows = meaning_named("libero", "").rows(steps, REFERENCE, 0.08)
    assert rows[0, 0] - REFERENCE[0] == pytest.approx(0.05)
    turn = rotvec_from_quat(quat_multiply(rows[0, 3:7], REFERENCE[3:7] * [-1, -1, -1, 1]))
    np.testing.assert_allclose(turn, [0.0, 0.0, -0.5], atol=1e-9)
    assert rows[:, 7].tolist() == [0.0, 0.08]


def test_a_gripper_that_opens_with_1():
    rows = ActionMeaning(True, "open_01").rows(np.array([[0, 0, 0, 0, 0, 0, 0.7], [0, 0, 0, 0, 0, 0, 0.2]]), REFERENCE, 0.08)
    assert rows[:, 7].tolist() == [0.08, 0.0]
