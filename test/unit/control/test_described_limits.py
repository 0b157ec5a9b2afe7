"""The robot's own description may narrow the limits of the robot file, never widen them."""

import dataclasses
import re

import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.described_limits import within_description

ROBOT = load_contract("franka_pick_place", "franka_fr3").robot
URDF = (urdf_dir() / ROBOT.urdf).read_text(encoding="utf-8")


def with_limit(joint, **values):
    """Our description with other limits of one joint."""
    head, tail = URDF.split(f'<joint name="{joint}"')
    for key, value in values.items():
        tail = re.sub(rf'(<limit[^>]*?{key}=")[^"]*', rf"\g<1>{value}", tail, count=1)
    return f'{head}<joint name="{joint}"{tail}'


def limits(urdf):
    return within_description(ROBOT, URDF, urdf).arms[0].limits


def test_our_own_description_changes_nothing():
    for name in ("lower_rad", "upper_rad", "velocity_rad_s"):
        np.testing.assert_allclose(getattr(limits(URDF), name), getattr(ROBOT.arms[0].limits, name))


def test_narrower_limits_are_kept_with_margin_and_fraction():
    narrow = limits(with_limit("fr3_joint2", lower=-1.0, upper=0.9, velocity=1.5))
    arm = ROBOT.arms[0]
    assert narrow.lower_rad[1] == pytest.approx(-1.0 + arm.position_margin_rad)
    assert narrow.upper_rad[1] == pytest.approx(0.9 - arm.position_margin_rad)
    assert narrow.velocity_rad_s[1] == pytest.approx(1.5 * arm.limit_fraction)
    others = [0, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(narrow.lower_rad[others], arm.limits.lower_rad[others])


def test_wider_limits_are_not_taken():
    wide = limits(with_limit("fr3_joint2", lower=-9.0, upper=9.0, velocity=99.0))
    np.testing.assert_array_equal(wide.lower_rad, ROBOT.arms[0].limits.lower_rad)
    np.testing.assert_array_equal(wide.velocity_rad_s, ROBOT.arms[0].limits.velocity_rad_s)


@pytest.mark.parametrize(
    ("urdf", "expected"),
    [
        (with_limit("fr3_joint2", lower=0.5), "does not allow the home position of fr3_joint2"),
        (with_limit("fr3_joint3", velocity="nan"), "expected lower, upper and velocity limits of every joint"),
        (URDF.replace("0 0 0.1034", "0 0 0.2034"), "100.0 mm and 0.000 rad away; is another hand mounted"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(urdf, expected):
    assert urdf != URDF
    with pytest.raises(UserMistake, match=expected):
        within_description(ROBOT, URDF, urdf)


def test_a_description_without_limits_is_refused():
    bare = re.sub(r"<limit[^>]*/>", "", URDF)
    with pytest.raises(UserMistake, match="no limits for joint fr3_joint1"):
        within_description(ROBOT, URDF, bare)


def test_only_the_limits_change():
    changed = within_description(ROBOT, URDF, with_limit("fr3_joint2", lower=-1.0))
    assert dataclasses.replace(changed, arms=ROBOT.arms) == ROBOT
