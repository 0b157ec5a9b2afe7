"""What a bridge publishes of its robot's joints: where they are, and where they were told to be."""

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import JointState

from lawam_ros.contract.robot import Robot
from lawam_ros.control.robot_report import RobotReport
from lawam_ros.nodes import messages


def measured_message(robot: Robot, report: RobotReport, stamp_ns: int) -> JointState:
    """All joints of the robot file: arms, grippers that were heard (motors as on the robot), and what stands still."""
    positions = dict(zip(robot.joint_names, report.joints_rad.tolist(), strict=True))
    for arm in robot.arms:
        if arm.name in report.openings_m:
            positions |= dict.fromkeys(arm.gripper.joints, report.openings_m[arm.name] / arm.gripper.opening_per_joint)
    positions |= dict(robot.standing_joints)
    return messages.joint_state_to_message(stamp_ns, positions, dict.fromkeys(positions, 0.0))


def reference_message(robot: Robot, joints_rad: NDArray[np.float64], stamp_ns: int) -> JointState:
    """joints_rad: of all arms, robot order."""
    positions = dict(zip(robot.joint_names, joints_rad.tolist(), strict=True))
    return messages.joint_state_to_message(stamp_ns, positions, dict.fromkeys(positions, 0.0))
