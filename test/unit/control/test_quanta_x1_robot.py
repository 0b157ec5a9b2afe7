"""The Quanta X1's description against the vendor's published figures."""

import re

import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import config_dir, urdf_dir
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.robot_file import robot_from_mapping
from lawam_ros.contract.rotations import rpy_from_quat
from lawam_ros.contract.yaml_fields import load_yaml
from lawam_ros.control.kinematics import Chain, fixed_transform

# Published: joints (rad), position of link 6 in the arm's base (m), its roll pitch yaw (rad).
VECTORS = [
    ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.1185, 0.0025, 0.181], [0.0, 0.0, 0.0]),
    (
        [0.2, 0.8, -1.0, 0.3, 0.1, -0.2],
        [0.171297079, 0.041298109, 0.399897011],
        [-0.189983582, 0.099498757, 0.300498726],
    ),
    ([0.0, 1.2, -1.5, 0.3, 0.0, 0.0], [0.251783366, 0.0025, 0.488393327], [0.0, 0.0, 0.0]),
]


@pytest.fixture(scope="module")
def mapping():
    return load_yaml(config_dir() / "robots" / "quanta_x1.yaml", "robot")


@pytest.fixture(scope="module")
def robot(mapping) -> Robot:
    return robot_from_mapping(mapping, "robot")


@pytest.fixture(scope="module")
def urdf(robot) -> str:
    return (urdf_dir() / robot.urdf).read_text(encoding="utf-8")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("joints", "position", "rpy"), VECTORS)
def test_link_6_is_where_the_vendor_says(urdf, side, joints, position, rpy):
    pose = Chain.from_urdf(urdf, f"{side}_arm_base_link", f"{side}_arm_link6").pose(np.array(joints))
    np.testing.assert_allclose(pose.position_m, position, atol=1e-9)
    np.testing.assert_allclose(rpy_from_quat(pose.quat_xyzw), rpy, atol=1e-9)


def test_official_end_poses_count_from_the_zero_pose(robot, urdf):
    for arm in robot.arms:
        chain = Chain.from_urdf(urdf, arm.base_frame, robot.official.end_pose_frames[arm.name])
        np.testing.assert_allclose(chain.pose(np.zeros(6)).position_m, robot.official.end_pose_offset_m, atol=1e-12)
        origin = fixed_transform(urdf, arm.base_frame, f"{arm.name}_arm_end_pose_origin")
        np.testing.assert_allclose(origin[:3, 3], robot.official.end_pose_offset_m)
    assert robot.official.action[:7] == tuple(f"left/{name}" for name in ("x", "y", "z", "roll", "pitch", "yaw", "gripper"))
    assert len(robot.official.action) == 14 and robot.official.action_hz == 20.0


def test_both_arms_are_one_arm_mounted_twice(robot, urdf):
    left, right = urdf.removesuffix("</robot>\n").split("<!-- left arm -->")[1].split("<!-- right arm -->")
    assert right.strip() == left.strip().replace("left_arm_", "right_arm_").replace("0.2305 0.266 0", "0.2305 -0.266 0")
    for arm, y in zip(robot.arms, (0.266, -0.266), strict=True):
        np.testing.assert_allclose(fixed_transform(urdf, robot.base_frame, arm.base_frame)[:3, 3], [0.2305, y, 0.0])
        assert Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame).joint_names == arm.joints


def test_the_description_holds_no_macro(urdf):
    assert 'xmlns:xacro="http://www.ros.org/wiki/xacro"' in urdf
    assert not re.search(r"<xacro:|\$\{|\$\(", urdf), "it is read here without xacro"


def test_the_gripper_opens_by_its_motor(robot, urdf):
    for arm in robot.arms:
        multipliers = re.findall(rf'<mimic joint="{arm.name}_arm_gripper" multiplier="([0-9.]+)"/>', urdf)
        assert len(multipliers) == 2
        assert sum(map(float, multipliers)) == pytest.approx(arm.gripper.opening_per_joint)
        assert arm.gripper.opening_max_m / arm.gripper.opening_per_joint == pytest.approx(4.5, abs=0.005)


def test_home_is_inside_the_workspace_and_away_from_singularities(robot, urdf):
    for arm in robot.arms:
        chain = Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame)
        position = chain.pose(arm.home_rad).position_m
        assert np.all(position > arm.workspace_lower_m) and np.all(position < arm.workspace_upper_m)
        assert np.linalg.svd(chain.jacobian(arm.home_rad), compute_uv=False)[-1] > 0.1


def test_an_official_order_that_lacks_a_component_is_named(mapping):
    short = {**mapping, "official": {**mapping["official"], "action": mapping["official"]["action"][:-1]}}
    with pytest.raises(UserMistake, match=r"official\.action: expected each of left/gripper"):
        robot_from_mapping(short, "robot")
