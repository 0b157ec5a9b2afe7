"""The shipped robot and task, and every way in which a changed copy of them is refused."""

import copy
from typing import Any

import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.robot import Budgets, Robot
from lawam_ros.contract.robot_file import robot_from_mapping
from lawam_ros.contract.task import task_from_mapping
from lawam_ros.contract.yaml_fields import load_yaml

ROBOT = load_yaml(config_dir() / "robots" / "franka_panda.yaml", "robot")
TASK = load_yaml(config_dir() / "tasks" / "franka_pick_place.yaml", "task")


def changed(mapping: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Copy of the mapping with one key set."""
    result = copy.deepcopy(mapping)
    node = result
    *parents, last = path.split("/")
    for part in parents:
        node = node[part]
    node[last] = value
    return result


def without(mapping: dict[str, Any], path: str) -> dict[str, Any]:
    result = copy.deepcopy(mapping)
    node = result
    *parents, last = path.split("/")
    for part in parents:
        node = node[part]
    del node[last]
    return result


def two_arms() -> Robot:
    """The shipped robot with a second arm whose names differ."""
    mapping = copy.deepcopy(ROBOT)
    second = copy.deepcopy(ROBOT["arms"]["arm"])
    second["joints"] = [f"second_{name}" for name in second["joints"]]
    mapping["arms"]["second"] = second
    return robot_from_mapping(mapping, "robot two")


def test_limits_are_scaled_and_bounds_moved_in() -> None:
    arm = robot_from_mapping(ROBOT, "robot").arms[0]
    raw = ROBOT["arms"]["arm"]["limits"]
    np.testing.assert_allclose(arm.limits.lower_rad, np.array(raw["lower_rad"]) + raw["position_margin_rad"])
    np.testing.assert_allclose(arm.limits.upper_rad, np.array(raw["upper_rad"]) - raw["position_margin_rad"])
    for name in ("velocity_rad_s", "acceleration_rad_s2", "jerk_rad_s3"):
        np.testing.assert_allclose(getattr(arm.limits, name), raw["fraction"] * np.array(raw[name]))


def test_joints_of_several_arms_lie_one_after_the_other() -> None:
    robot = two_arms()
    assert robot.joint_names == robot.arms[0].joints + robot.arms[1].joints
    for arm in robot.arms:
        assert robot.joint_names[robot.joint_slice(arm.name)] == arm.joints
    assert robot.tick_period_ns == 4_000_000


def test_unknown_arm_and_camera_name_the_known_ones() -> None:
    robot = robot_from_mapping(ROBOT, "robot")
    with pytest.raises(UserMistake, match="no arm 'left', expected one of arm"):
        robot.arm("left")
    with pytest.raises(UserMistake, match="no arm 'left'"):
        robot.joint_slice("left")
    with pytest.raises(UserMistake, match="no camera 'side', expected one of front, wrist"):
        robot.camera("side")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("tick_hz", 5000.0, "tick_hz: expected a number between"),
        ("tick_hz", "250", "tick_hz: expected a number"),
        ("embodiment/id", 32, "embodiment.id: expected an integer between 0 and 31"),
        ("arms/arm/limits/fraction", 1.5, "limits.fraction: expected a number"),
        ("arms/arm/limits/velocity", [1.0] * 7, r"unknown key\(s\) velocity;"),
        ("arms/arm/limits/velocity_rad_s", [1.0] * 6, "velocity_rad_s: expected 7 finite numbers"),
        ("arms/arm/limits/velocity_rad_s", [1.0] * 6 + [0.0], "velocity_rad_s"),
        ("arms/arm/limits/jerk_rad_s3", [-1.0] * 7, "jerk_rad_s3"),
        ("arms/arm/limits/lower_rad", [9.0] * 7, "expected lower_rad"),
        ("arms/arm/home_rad", [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], "home_rad .* is outside the position limits"),
        ("arms/arm/workspace/lower_m", [0.9, -0.5, 0.0], "expected workspace.lower_m below upper_m"),
        ("arms/arm/gripper/opening_max_m", 0.0, "opening_max_m: expected a number"),
        ("cameras/front/rotate_deg", 45, "expected rotate_deg 0, 90, 180 or 270, got 45"),
        ("cameras/front/zoom", 2, r"cameras.front: unknown key\(s\) zoom"),
        ("budgets/camera_age", 0.2, r"budgets: unknown key\(s\) camera_age"),
        ("topics/sim_command", "joint_controller/command", "expected a name under sim_controller/"),
        ("colour", "white", r"unknown key\(s\) colour"),
        ("arms", {}, "expected named entries"),
    ],
)
def test_wrong_robot_files_are_refused_by_name(path: str, value: Any, expected: str) -> None:
    with pytest.raises(UserMistake, match=expected):
        robot_from_mapping(changed(ROBOT, path, value), "robot x")


@pytest.mark.parametrize(
    "path",
    ["name", "arms/arm/tcp_frame", "arms/arm/limits/jerk_rad_s3", "cameras/wrist/width", "topics/joint_states"]
    + [f"budgets/{name}" for name in Budgets.__dataclass_fields__],
)
def test_missing_robot_keys_are_named(path: str) -> None:
    with pytest.raises(UserMistake, match=f"key '{path.split('/')[-1]}' is missing"):
        robot_from_mapping(without(ROBOT, path), "robot x")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("policy/action_hz", 0.0, "policy.action_hz: expected a number between 1 and 200"),
        ("policy/horizon_s", 0.05, "expected 1 to 512"),
        ("policy/horizon_s", 0.04, "policy.horizon_s: expected a number"),
        ("policy/state", ["tcp_position", "tcp_euler"], "unknown slot 'tcp_euler', expected tcp_position"),
        ("policy/action", ["joint_velocity"], "unknown slot 'joint_velocity'"),
        ("policy/cameras", {"primary": [], "wrist": []}, "expected at least one camera"),
        ("policy/cameras/side", ["x"], r"unknown key\(s\) side"),
        ("policy/rate", 3, r"unknown key\(s\) rate"),
        ("episode/timeout_s", -1.0, "episode.timeout_s"),
        ("world", {"cube_size_m": 0.04}, "world: expected a mapping with at least 'name'"),
        ("world", None, "world: expected a mapping"),
        ("instruction", "", "instruction: expected a non-empty text"),
    ],
)
def test_wrong_task_files_are_refused_by_name(path: str, value: Any, expected: str) -> None:
    mapping = changed(TASK, path, value)
    if path == "policy/horizon_s" and value == 0.05:
        mapping["policy"]["action_hz"] = 19.0
    with pytest.raises(UserMistake, match=expected):
        task_from_mapping(mapping, "task x")


def test_steps_of_a_chunk() -> None:
    assert task_from_mapping(TASK, "task").policy.steps == 24
    with pytest.raises(UserMistake, match="gives 2000 steps, expected 1 to 512"):
        task_from_mapping(changed(changed(TASK, "policy/horizon_s", 10.0), "policy/action_hz", 200.0), "task")


def test_robot_must_be_one_of_the_task(tmp_path: Any) -> None:
    with pytest.raises(UserMistake, match="unknown robot 'franka_fr9': expected one of .*franka_panda"):
        load_contract("franka_pick_place", "franka_fr9")
    with pytest.raises(UserMistake, match="unknown task 'make_coffee': expected one of .*franka_pick_place"):
        load_contract("make_coffee")
    with pytest.raises(UserMistake, match="task franka_pick_place runs on other, got robot franka_panda"):
        load_contract("franka_pick_place", "franka_panda", ["task.robots=[other]"])
    with pytest.raises(UserMistake, match="no camera 'side'"):
        load_contract("franka_pick_place", overrides=["task.policy.cameras.wrist=[side]"])
