"""The view in rviz: its file for a robot, and the processes of other packages that show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import config_dir, urdf_dir
from lawam_ros.contract.robot import Robot


@dataclass(frozen=True)
class ForeignNode:
    """A process of another ROS package. remappings: name in its code -> topic."""

    package: str
    executable: str
    arguments: tuple[str, ...] = ()
    parameters: Mapping[str, bool | str] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)


def rviz_file(robot: Robot) -> Path:
    """The file whose name is part of the robot's. Raises UserMistake where there is none."""
    fitting = [path for path in sorted((config_dir() / "rviz").glob("*.rviz")) if path.stem in robot.name]
    if not fitting:
        raise UserMistake(
            f"rviz:=true: expected a file in config/rviz whose name is part of {robot.name}; copy one and give it your cameras"
        )
    return max(fitting, key=lambda path: len(path.stem))


def rviz_nodes(robot: Robot, driver_describes: bool, stepped: bool) -> tuple[ForeignNode, ...]:
    """rviz, and what tells it where the links are. driver_describes: the robot's own driver does that already. stepped: time is /clock."""
    rviz = ForeignNode("rviz2", "rviz2", ("-d", str(rviz_file(robot)), "-f", robot.base_frame), {"use_sim_time": stepped})
    if driver_describes:
        return (rviz,)
    description = (urdf_dir() / robot.urdf).read_text(encoding="utf-8")
    links = ForeignNode(
        "robot_state_publisher",
        "robot_state_publisher",
        parameters={"robot_description": description, "use_sim_time": stepped},
        remappings={"joint_states": robot.joint_states_topic},
    )
    return (links, rviz)
