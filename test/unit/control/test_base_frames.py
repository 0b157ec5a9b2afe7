"""Frames of arms in the robot's base frame."""

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import quat_from_rpy
from lawam_ros.control.base_frames import BaseFrames


@pytest.fixture(scope="module")
def turned() -> BaseFrames:
    """The Quanta X1 with its right arm turned by 90 degrees about the vertical."""
    robot = load_contract("x1_towel_fold").robot
    urdf = (urdf_dir() / robot.urdf).read_text(encoding="utf-8")
    return BaseFrames(robot, urdf.replace('xyz="0.2305 -0.266 0" rpy="0 0 0"', 'xyz="0.2305 -0.266 0" rpy="0 0 1.5707963267948966"'))


def test_points_and_turns_go_into_the_base_frame_and_back(turned: BaseFrames) -> None:
    np.testing.assert_allclose(turned.origin_m("right"), [0.2305, -0.266, 0.0])
    np.testing.assert_allclose(turned.points_to_base("left", np.array([0.1, 0.0, 0.2])), [0.3305, 0.266, 0.2])
    np.testing.assert_allclose(turned.points_to_base("right", np.array([0.1, 0.0, 0.2])), [0.2305, -0.166, 0.2])
    pose = Pose(np.array([0.3, -0.1, 0.2]), quat_from_rpy(np.array([0.1, 0.9, -0.3])))
    in_base = turned.to_base("right", pose)
    assert abs(np.dot(in_base.quat_xyzw, quat_from_rpy(np.array([0.1, 0.9, -0.3 + np.pi / 2])))) == pytest.approx(1.0)
    back = turned.to_arm("right", in_base)
    np.testing.assert_allclose(back.position_m, pose.position_m, atol=1e-12)
    np.testing.assert_allclose(back.quat_xyzw, pose.quat_xyzw, atol=1e-12)
