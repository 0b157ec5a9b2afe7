"""Whether the executor drives the robot itself, and all that must be so before it does."""

from collections.abc import Callable

from rclpy.node import Node

from lawam_ros.contract.controllers import check_controllers
from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.installation import refuse_ros_wheels
from lawam_ros.contract.real import RealRobot
from lawam_ros.contract.robot import Robot
from lawam_ros.control.described_limits import within_description
from lawam_ros.nodes.gripper_actions import GripperWish
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.robot_interfaces import robot_interfaces
from lawam_ros.nodes.robot_link import RobotLink, Tell

SIM, REAL = "sim", "real"
HARDWARE = Parameter("hardware", SIM, "Where commands go: sim for what simulates, mocks or replays, real for the robot itself.")


def wanted_hardware(wanted: str, robot: Robot, stepped: bool) -> RealRobot | None:
    """How the robot is driven, None where set-points go to what stands in for it. Raises EnvironmentLacks or UserMistake."""
    if wanted not in (SIM, REAL):
        raise UserMistake(f"parameter hardware: expected {SIM} or {REAL}, got {wanted!r}")
    if wanted == SIM:
        return None
    refuse_ros_wheels()
    if stepped:
        raise UserMistake("parameter hardware: real cannot be in lock step, a robot does not wait")
    if robot.real is None:
        raise UserMistake(f"parameter hardware: robot {robot.name} has no driver (no section 'real' in its file)")
    check_controllers(robot, robot.real)
    return robot.real


def linked(
    owner: Node, robot: Robot, real: RealRobot, own_urdf: str, tell: Tell, wish: Callable[[], GripperWish | None]
) -> tuple[RobotLink, Robot]:
    """The link to the running driver, and the robot within the limits of its own description.

    Raises InputMissing while the driver is not up, EnvironmentLacks without its interfaces, UserMistake where something does not fit.
    """
    link = RobotLink(owner, robot_interfaces(), robot, real, tell, wish)
    try:
        narrowed = within_description(robot, own_urdf, link.description())
        link.check_controller()
    except BaseException:
        link.close()
        raise
    return link, narrowed
