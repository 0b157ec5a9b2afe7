"""The limits of the robot that is really there: its own description may only make those of the robot file narrower."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.robot import Arm, Robot
from lawam_ros.control import scalar_rotations as rot
from lawam_ros.control.kinematics import Chain

Array = NDArray[np.float64]

SAME_PLACE_M = 1e-3
SAME_ANGLE_RAD = 0.01


def within_description(robot: Robot, own_urdf: str, described_urdf: str) -> Robot:
    """The robot with position and velocity limits that also keep those of ``described_urdf``, its margin and fraction applied to both.

    Raises UserMistake where the description lacks a joint, has another TCP, or does not allow the home position.
    """
    return replace(robot, arms=tuple(_narrowed(arm, own_urdf, described_urdf) for arm in robot.arms))


def _narrowed(arm: Arm, own_urdf: str, described_urdf: str) -> Arm:
    _check_tcp(arm, own_urdf, described_urdf)
    lower, upper, velocity = _described(arm, described_urdf)
    limits = replace(
        arm.limits,
        lower_rad=np.maximum(arm.limits.lower_rad, lower + arm.position_margin_rad),
        upper_rad=np.minimum(arm.limits.upper_rad, upper - arm.position_margin_rad),
        velocity_rad_s=np.minimum(arm.limits.velocity_rad_s, arm.limit_fraction * velocity),
    )
    outside = [
        name
        for name, home, low, high in zip(arm.joints, arm.home_rad, limits.lower_rad, limits.upper_rad, strict=True)
        if not low <= home <= high
    ]
    if outside:
        raise UserMistake(f"arm {arm.name}: the robot's own description does not allow the home position of {', '.join(outside)}")
    return replace(arm, limits=limits)


def _check_tcp(arm: Arm, own_urdf: str, described_urdf: str) -> None:
    own, described = (Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame).pose(arm.home_rad) for urdf in (own_urdf, described_urdf))
    distance_m = float(np.linalg.norm(own.position_m - described.position_m))
    angle_rad = float(np.linalg.norm(rot.difference(own.quat_xyzw.tolist(), described.quat_xyzw.tolist())))
    if distance_m > SAME_PLACE_M or angle_rad > SAME_ANGLE_RAD:
        raise UserMistake(
            f"arm {arm.name}: expected {arm.tcp_frame} where our description has it, the robot's own has it {1e3 * distance_m:.1f} mm and "
            f"{angle_rad:.3f} rad away; is another hand mounted?"
        )


def _described(arm: Arm, urdf: str) -> tuple[Array, Array, Array]:
    """Lower, upper (rad) and velocity (rad/s) of the arm's joints."""
    found = {str(joint.get("name")): joint.find("limit") for joint in ElementTree.fromstring(urdf).iter("joint")}
    rows = []
    for name in arm.joints:
        limit = found.get(name)
        if limit is None:
            raise UserMistake(f"arm {arm.name}: the robot's own description has no limits for joint {name}")
        rows.append([float(limit.get(key, "nan")) for key in ("lower", "upper", "velocity")])
    table = np.array(rows)
    if not np.isfinite(table).all():
        raise UserMistake(f"arm {arm.name}: expected lower, upper and velocity limits of every joint in the robot's own description")
    return table[:, 0], table[:, 1], table[:, 2]
