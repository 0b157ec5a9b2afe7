"""Whether the executor drives the robot itself, and all that must be so before it does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from lawam_ros.contract.bridge import MOCK, SDK, TOPICS, Bridge
from lawam_ros.contract.controllers import check_controllers
from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.installation import refuse_ros_wheels
from lawam_ros.contract.load import Contract
from lawam_ros.contract.real import RealRobot
from lawam_ros.contract.robot import Drive, Robot
from lawam_ros.control.described_limits import within_description
from lawam_ros.nodes.bridge_link import BridgeLink
from lawam_ros.nodes.gripper_actions import GripperWish
from lawam_ros.nodes.managed import ManagedNode
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.robot_interfaces import robot_interfaces
from lawam_ros.nodes.robot_link import RobotLink, Tell

SIM, REAL, BRIDGE_MOCK = "sim", "real", "bridge_mock"
HARDWARE = Parameter(
    "hardware",
    SIM,
    "Where commands go: sim for what simulates, mocks or replays, real for the robot itself, bridge_mock for its bridge without a robot.",
)


def wanted_drive(wanted: str, robot: Robot, stepped: bool) -> Drive | None:
    """How the robot is driven, None where set-points go to what stands in for it. Raises EnvironmentLacks or UserMistake."""
    if wanted not in (SIM, REAL, BRIDGE_MOCK):
        raise UserMistake(f"parameter hardware: expected {SIM}, {REAL} or {BRIDGE_MOCK}, got {wanted!r}")
    if wanted == SIM:
        return None
    if wanted == REAL:
        refuse_ros_wheels()
    if stepped:
        raise UserMistake(f"parameter hardware: {wanted} cannot be in lock step, a robot does not wait")
    if wanted == BRIDGE_MOCK:
        if robot.bridge is None:
            raise UserMistake(f"parameter hardware: robot {robot.name} has no bridge (no section 'bridge' in its file)")
        return replace(robot.bridge, command_topic=robot.sim_command_topic)  # where no robot listens
    if robot.drive is None:
        raise UserMistake(f"parameter hardware: robot {robot.name} has no driver (no section 'real' or 'bridge' in its file)")
    if isinstance(robot.drive, RealRobot):
        check_controllers(robot, robot.drive)
    return robot.drive


def joint_states_topics(robot: Robot, drive: Drive | None) -> tuple[str, ...]:
    """Where the executor listens; a bridge publishes what everybody reads."""
    return drive.joint_states if isinstance(drive, RealRobot) else (robot.joint_states_topic,)


def linked(
    owner: ManagedNode, contract: Contract, drive: Drive, own_urdf: str, tell: Tell, wish: Callable[[], GripperWish | None]
) -> tuple[RobotLink | BridgeLink, Robot]:
    """The link to the running driver or bridge, and the robot within the limits of its own description.

    Raises InputMissing while the driver is not up, EnvironmentLacks without its interfaces, UserMistake where something does not fit.
    """
    robot = contract.robot
    if isinstance(drive, Bridge):
        bridge = BridgeLink(owner, contract, drive, tell)
        with _closed_on_failure(bridge):
            bridge.check((MOCK,) if drive.command_topic == robot.sim_command_topic else (SDK, TOPICS))
        return bridge, robot
    link = RobotLink(owner, robot_interfaces(), robot, drive, tell, wish)
    with _closed_on_failure(link):
        narrowed = within_description(robot, own_urdf, link.description())
        link.check_controller()
    return link, narrowed


@contextmanager
def _closed_on_failure(link: RobotLink | BridgeLink) -> Iterator[None]:
    try:
        yield
    except BaseException:
        link.close()
        raise
