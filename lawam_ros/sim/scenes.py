"""The one table of worlds: what a task file's ``world.name`` stands for."""

from collections.abc import Callable
from dataclasses import dataclass

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.robot import Robot
from lawam_ros.sim.drawer_field import DrawerField
from lawam_ros.sim.expert_field import ExpertField
from lawam_ros.sim.one_handed import OneHanded
from lawam_ros.sim.pick_place_field import PickPlaceField
from lawam_ros.sim.success import DrawerMeasure, Measure, PickPlaceMeasure, TowelMeasure
from lawam_ros.sim.towel_field import TowelField
from lawam_ros.sim.world_parameters import CABINET, CUBE, TOWEL, WorldParameters, on_table, world_parameters


@dataclass(frozen=True)
class Scene:
    """What is to be done in a world. goal_object: what must stand on the table for it; anything else may stand there too."""

    goal_object: str
    measure: Callable[[WorldParameters], Measure]
    expert_field: Callable[[Robot, WorldParameters], ExpertField]


SCENES = {
    "pick_place": Scene(
        CUBE,
        lambda parameters: PickPlaceMeasure(on_table(parameters.cube).success_radius_m),
        lambda robot, parameters: OneHanded(robot, parameters, PickPlaceField),
    ),
    "drawer": Scene(
        CABINET,
        lambda parameters: DrawerMeasure(on_table(parameters.cabinet).success_opening_m),
        lambda robot, parameters: OneHanded(robot, parameters, DrawerField),
    ),
    "towel": Scene(TOWEL, lambda parameters: TowelMeasure(on_table(parameters.towel)), TowelField),
}


def scene_of(contract: Contract) -> Scene:
    """Raises UserMistake for a world that does not exist."""
    name = contract.task.world["name"]
    if name not in SCENES:
        raise UserMistake(f"task {contract.task.name}.world.name: expected one of {', '.join(SCENES)}, got {name!r}")
    return SCENES[name]


def parameters_of(contract: Contract) -> WorldParameters:
    """The task's world section. Raises UserMistake naming the key that is wrong."""
    return world_parameters(contract, scene_of(contract).goal_object)
