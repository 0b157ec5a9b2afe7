"""The one table of robots that worlds can be built for."""

from collections.abc import Callable

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.robot import Robot
from lawam_ros.sim.panda_mjcf import panda_model
from lawam_ros.sim.robot_model import RobotModel
from lawam_ros.sim.x1_model import x1_model

MODELS: dict[str, Callable[[Robot], RobotModel]] = {"franka_panda": panda_model, "quanta_x1": x1_model}


def robot_model(robot: Robot) -> RobotModel:
    """Raises UserMistake for a robot that no world knows."""
    if robot.name not in MODELS:
        raise UserMistake(f"expected a robot that can be simulated, {' or '.join(MODELS)}, got {robot.name}")
    return MODELS[robot.name](robot)
