"""What a robot or task file may say besides: velocity envelope, proximity, follower, merge; and what happens where it says nothing."""

import copy

import numpy as np
import pytest
import yaml

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.robot import Safety
from lawam_ros.contract.robot_file import DEFAULT_FRACTION, robot_from_mapping
from lawam_ros.contract.task import task_from_mapping
from lawam_ros.contract.yaml_fields import load_yaml


def mapping(name, kind="robots"):
    return copy.deepcopy(load_yaml(config_dir() / kind / f"{name}.yaml", "file"))


def test_a_file_that_says_nothing_gets_the_defaults():
    raw = mapping("franka_panda")
    del raw["arms"]["arm"]["limits"]["fraction"]
    robot = robot_from_mapping(raw, "robot")
    limits = robot.arms[0].limits
    np.testing.assert_allclose(limits.velocity_rad_s, DEFAULT_FRACTION * np.array(raw["arms"]["arm"]["limits"]["velocity_rad_s"]))
    assert (DEFAULT_FRACTION, limits.envelope, robot.proximity, robot.follower) == (0.3, None, None, "own")
    raw = mapping("franka_pick_place", "tasks")
    raw.pop("executor", None)
    assert task_from_mapping(raw, "task").merge == "replace"


def test_safety_is_off_unless_the_robot_file_says_otherwise():
    raw = mapping("franka_panda")
    assert robot_from_mapping(raw, "robot").safety == Safety(False, False, 0.2, "warn")
    raw["safety"] = yaml.safe_load("{deadman: required, estop: off}")
    assert robot_from_mapping(raw, "robot").safety == Safety(deadman_required=True)
    raw["safety"] = {"estop": "required", "max_age_s": 0.1, "second_chunk_publisher": "stop", "uniform_image": "hold"}
    assert robot_from_mapping(raw, "robot").safety == Safety(False, True, 0.1, "stop", "hold")


def test_two_arms_and_what_they_must_not_touch():
    robot = robot_from_mapping(mapping("two_pandas"), "robot")
    assert [arm.name for arm in robot.arms] == ["left", "right"] and len(robot.joint_names) == 14
    assert robot.proximity.spheres["left"].shape == (5, 4) and robot.proximity.table_z_m == 0.0
    np.testing.assert_array_equal(robot.proximity.spheres["left"], robot.proximity.spheres["right"])
    np.testing.assert_array_equal(robot.proximity.spheres["left"][0], [0.0, 0.0, -0.03, 0.025])


def test_a_camera_may_say_where_it_sits():
    raw = mapping("franka_panda")
    raw["cameras"]["wrist"]["mount"]["quat_xyzw"] = [0.0, 0.0, 0.0, 2.0]
    del raw["cameras"]["front"]["mount"]
    robot = robot_from_mapping(raw, "robot")
    assert robot.camera("front").mount is None and robot.camera("wrist").mount.link == "panda_hand"
    np.testing.assert_array_equal(robot.camera("wrist").mount.optical.quat_xyzw, [0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("topic", "info"),
    [
        ("camera/front/image_raw", "camera/front/camera_info"),
        ("camera/front/image_raw/compressed", "camera/front/camera_info"),
        ("/cam/color/image_rect_raw", "/cam/color/camera_info"),
    ],
)
def test_the_calibration_is_beside_the_images(topic, info):
    raw = mapping("franka_panda")
    raw["cameras"]["front"]["topic"] = topic
    assert robot_from_mapping(raw, "robot").camera("front").info_topic == info


@pytest.mark.parametrize(
    ("robot", "change", "said"),
    [
        ("franka_panda", lambda m: m["cameras"]["front"]["mount"].update(quat_xyzw=[0.0, 0.0, 0.0, 0.0]), "quaternion of non-zero"),
        ("franka_panda", lambda m: m["cameras"]["front"]["mount"].update(frame="panda_hand"), "unknown key"),
        ("franka_fr3", lambda m: m["arms"]["arm"]["limits"]["velocity_envelope"].pop("offset_rad_s"), "offset_rad_s' is missing"),
        ("franka_fr3", lambda m: m["arms"]["arm"]["limits"]["velocity_envelope"].update(deceleration_rad_s2=[0.0] * 7), "above 0"),
        ("franka_fr3", lambda m: m["arms"]["arm"]["limits"]["velocity_envelope"].update(ofset=1), "unknown key"),
        ("two_pandas", lambda m: m["proximity"]["spheres"].update(middle={"a": [0.0, 0.0, 0.0, 0.1]}), "arms out of left, right"),
        ("two_pandas", lambda m: m["proximity"]["spheres"]["left"].update(wrist=[0.0, 0.0, 0.0, 0.0]), "radii above 0"),
        ("two_pandas", lambda m: m["proximity"].pop("clearance_m"), "clearance_m' is missing"),
        ("franka_panda", lambda m: m.update(safety={"deadman": "on"}), "expected one of off, required"),
        ("franka_panda", lambda m: m.update(safety={"estop": "off", "age_s": 1.0}), "unknown key"),
        ("franka_panda", lambda m: m.update(follower="mine"), "expected one of own, ruckig"),
        ("franka_panda", lambda m: m["arms"]["arm"]["limits"].update(fraction=1.5), "fraction"),
    ],
)
def test_mistakes_are_named(robot, change, said):
    raw = mapping(robot)
    change(raw)
    with pytest.raises(UserMistake, match=said):
        robot_from_mapping(raw, "robot")


def test_an_unknown_merge_or_key_of_the_executor_is_named():
    raw = mapping("franka_pick_place", "tasks")
    for executor, said in (({"merge": "mean"}, "expected one of replace"), ({"merge": "replace", "marge": 1}, "unknown key")):
        raw["executor"] = executor
        with pytest.raises(UserMistake, match=said):
            task_from_mapping(raw, "task")
