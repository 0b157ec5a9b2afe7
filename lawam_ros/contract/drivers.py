"""What of other packages drives a real robot: a launch file to include, and the controller to spawn when it runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from lawam_ros.contract.controllers import controllers_file
from lawam_ros.contract.real import RealRobot


@dataclass(frozen=True)
class Driver:
    """package, launch_file and its arguments; spawn: arguments of controller_manager's ``spawner``."""

    package: str
    launch_file: str
    arguments: Mapping[str, str]
    spawn: tuple[str, ...]


def driver_of(real: RealRobot, robot_ip: str, namespace: str) -> Driver:
    """franka_ros2 (Jazzy, 3.4) with our controllers. namespace: of every node, empty for none."""
    namespace = namespace.strip("/")
    controllers = str(controllers_file(real))
    manager = "/".join(["", *namespace.split("/"), real.watch.controller_manager]).replace("//", "/")
    return Driver(
        package="franka_bringup",
        launch_file="launch/franka.launch.py",
        arguments={
            "robot_type": real.robot_type,
            "robot_ip": robot_ip,
            "namespace": namespace,
            "load_gripper": "true",
            "use_fake_hardware": "false",
            "joint_state_rate": str(round(real.joint_state_hz)),
            "controllers_yaml": controllers,
        },
        spawn=(real.controller, "--controller-manager", manager, "--param-file", controllers),
    )
