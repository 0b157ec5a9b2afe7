"""The one guard for interfaces that no wheel brings: they come with the driver of a real robot."""

import importlib
from dataclasses import dataclass
from typing import Any

from lawam_ros.contract.errors import EnvironmentLacks


@dataclass(frozen=True)
class RobotInterfaces:
    """Generated classes of control_msgs, controller_manager_msgs and franka_msgs."""

    controller_state: Any
    gripper_command: Any
    activity: Any
    list_controllers: Any
    switch_controller: Any
    set_hardware_component_state: Any
    robot_state: Any
    move: Any
    grasp: Any
    error_recovery: Any


def robot_interfaces() -> RobotInterfaces:
    """Raises EnvironmentLacks naming the package that is missing."""
    return RobotInterfaces(
        controller_state=_interface("control_msgs.msg", "JointTrajectoryControllerState"),
        gripper_command=_interface("control_msgs.action", "GripperCommand"),
        activity=_interface("controller_manager_msgs.msg", "ControllerManagerActivity"),
        list_controllers=_interface("controller_manager_msgs.srv", "ListControllers"),
        switch_controller=_interface("controller_manager_msgs.srv", "SwitchController"),
        set_hardware_component_state=_interface("controller_manager_msgs.srv", "SetHardwareComponentState"),
        robot_state=_interface("franka_msgs.msg", "FrankaRobotState"),
        move=_interface("franka_msgs.action", "Move"),
        grasp=_interface("franka_msgs.action", "Grasp"),
        error_recovery=_interface("franka_msgs.action", "ErrorRecovery"),
    )


def _interface(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        package = module.split(".")[0]
        raise EnvironmentLacks(
            f"a real robot needs {module}.{name}, which does not import ({error}); install {package} and source it"
        ) from error
