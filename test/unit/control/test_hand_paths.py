"""Points of the TCP out of chunks of either kind."""

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import config_dir, urdf_dir
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot_file import robot_from_mapping
from lawam_ros.contract.yaml_fields import load_yaml
from lawam_ros.control.hand_paths import hand_paths, in_frame
from lawam_ros.control.kinematics import Chain

TIMES_S = np.array([0.05, 0.1, 0.15])


def chains(robot):
    urdf = (urdf_dir() / robot.urdf).read_text()
    return {arm.name: Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame) for arm in robot.arms}


def chunk(columns):
    return ActionChunk(2_000_000_000, "base", tuple(columns), np.array(list(columns.values())).T, TIMES_S, 1, 0, 0)


def test_cartesian_chunks_of_two_arms():
    robot = robot_from_mapping(load_yaml(config_dir() / "robots" / "two_pandas.yaml", "robot"), "robot")
    columns = {f"right/{axis}": np.array([1.0, 2.0, 3.0]) * (i + 1) for i, axis in enumerate("xyz")}
    columns |= {f"left/{axis}": np.zeros(3) for axis in "xyz"} | {"left/gripper": np.array([0.08, 0.04, 0.0])}
    left, right = hand_paths(robot, chains(robot), chunk(columns), 2_030_000_000, None)
    assert (left.arm, right.arm) == ("left", "right")
    np.testing.assert_array_equal(right.points_m, [[1, 2, 3], [2, 4, 6], [3, 6, 9]])
    np.testing.assert_array_equal(left.opening_m, [0.08, 0.04, 0.0])
    assert np.isnan(right.opening_m).all()
    np.testing.assert_array_equal(left.due_ns, [2_050_000_000, 2_100_000_000, 2_150_000_000])
    np.testing.assert_allclose(left.ahead_s(2_100_000_000), [-0.05, 0.0, 0.05])


def test_joint_chunks_go_through_the_kinematics():
    robot = load_contract("franka_pick_place").robot
    arm, q = robot.arms[0], np.linspace(robot.arms[0].home_rad, robot.arms[0].home_rad + 0.2, 3)
    (path,) = hand_paths(robot, chains(robot), chunk({f"arm/{joint}": q[:, i] for i, joint in enumerate(arm.joints)}), 0, None)
    np.testing.assert_allclose(path.points_m, [chains(robot)["arm"].pose(row).position_m for row in q])


@pytest.mark.parametrize(
    ("resting_since_ns", "first_ns"), [(None, 2_050_000_000), (2_000_000_001, 2_050_000_000), (1_900_000_000, 4_000_000_000)]
)
def test_a_chunk_seen_at_rest_begins_when_it_arrives(resting_since_ns, first_ns):
    robot = load_contract("franka_pick_place").robot
    columns = {f"arm/{axis}": np.zeros(3) for axis in "xyz"}
    (path,) = hand_paths(robot, chains(robot), chunk(columns), 4_000_000_000, resting_since_ns)
    np.testing.assert_array_equal(path.due_ns, first_ns + np.array([0, 50_000_000, 100_000_000]))


def test_a_chunk_of_something_else_has_no_path():
    robot = load_contract("franka_pick_place").robot
    assert hand_paths(robot, chains(robot), chunk({"arm/gripper": np.zeros(3)}), 0, None) == []


def test_points_in_another_frame():
    T = np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    np.testing.assert_allclose(in_frame(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), T), [[1, 3, 3], [1, 2, 3]])
