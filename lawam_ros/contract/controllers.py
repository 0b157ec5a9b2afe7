"""Files of config/controllers: parameters for ros2_control, and which controllers may drive an arm from our commands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.real import TRAJECTORY_WINDOW, RealRobot
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.yaml_fields import load_yaml

JOINT_TRAJECTORY = "joint_trajectory_controller/JointTrajectoryController"
FORWARDING = (
    "forward_command_controller/",
    "multi_interface_forward_command_controller/",
    "position_controllers/",
    "velocity_controllers/",
    "effort_controllers/",
)
"""Packages of controllers that pass on each number as it comes and hold the last one for ever: a staircase that never ends by itself."""


def controllers_file(real: RealRobot) -> Path:
    return config_dir() / "controllers" / real.controllers


def check_controllers(robot: Robot, real: RealRobot) -> None:
    """The robot's controller as our own file has it. Raises UserMistake where it must not drive the arm, or not with this output."""
    path = controllers_file(real)
    nodes = _nodes(load_yaml(path, "controllers"))
    declared = nodes.get("controller_manager", {}).get(real.controller)
    if not isinstance(declared, Mapping) or not isinstance(declared.get("type"), str):
        raise UserMistake(f"{path.name}: expected controller_manager to give controller {real.controller} a type")
    check_type(real, declared["type"])
    if real.output == TRAJECTORY_WINDOW:
        _check_trajectory_controller(f"{path.name}: {real.controller}", nodes.get(real.controller, {}), robot)


def check_type(real: RealRobot, kind: str) -> None:
    """Whether a controller of this type takes the robot's output. Raises UserMistake."""
    if kind.startswith(FORWARDING):
        raise UserMistake(
            f"controller {real.controller}: {kind} passes every number on unlimited and holds the last one for ever; expected "
            f"{JOINT_TRAJECTORY}, or a Cartesian impedance controller with output: pose"
        )
    if (kind == JOINT_TRAJECTORY) != (real.output == TRAJECTORY_WINDOW):
        raise UserMistake(f"controller {real.controller}: {kind} does not take the output {real.output} (robot file, real.output)")


def _nodes(content: Mapping[str, Any]) -> dict[str, Any]:
    """Node name -> its parameters; a wildcard at the top (``/**``) is looked through."""
    found: dict[str, Any] = {}
    for name, entry in content.items():
        if isinstance(entry, Mapping) and "ros__parameters" in entry:
            found[str(name).strip("/")] = entry["ros__parameters"] or {}
        elif isinstance(entry, Mapping):
            found |= _nodes(entry)
    return found


def _check_trajectory_controller(where: str, parameters: Mapping[str, Any], robot: Robot) -> None:
    joints = parameters.get("joints")
    if joints != list(robot.joint_names):
        raise UserMistake(f"{where}.joints: expected {', '.join(robot.joint_names)}, got {joints!r}")
    if parameters.get("interpolate_from_desired_state") is not True:
        raise UserMistake(f"{where}.interpolate_from_desired_state: expected true; else every window would start at the measured joints")
    if parameters.get("interpolation_method", "splines") != "splines":
        raise UserMistake(f"{where}.interpolation_method: expected splines; else the arm would be sent a staircase")
    if len(parameters.get("command_interfaces") or []) != 1:
        raise UserMistake(f"{where}.command_interfaces: expected one; of several, franka_hardware silently takes one")
