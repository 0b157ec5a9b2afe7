"""The world section of a task file, checked."""

from dataclasses import dataclass

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.yaml_fields import Fields
from lawam_ros.sim.cabinet import CabinetParameters, cabinet_parameters
from lawam_ros.sim.cube_and_pad import CubeParameters, cube_parameters
from lawam_ros.sim.variation import VARIATIONS

CUBE, CABINET = "cube", "cabinet"
OBJECTS = (CUBE, CABINET)


@dataclass(frozen=True)
class WorldParameters:
    """objects: what stands on the table, of ``OBJECTS``. perturb: what changes from episode to episode, of ``VARIATIONS``."""

    objects: tuple[str, ...]
    perturb: tuple[str, ...]
    start_joint_noise_rad: float
    cube: CubeParameters
    cabinet: CabinetParameters


def world_parameters(contract: Contract, needed: str) -> WorldParameters:
    """Validated world section of the task, whose goal needs one certain object. Raises UserMistake naming the key."""
    where = f"task {contract.task.name}.world"
    fields = Fields(contract.task.world, where)
    fields.text("name")
    parameters = WorldParameters(
        objects=_subset(fields, "objects", OBJECTS, where),
        perturb=_subset(fields, "perturb", VARIATIONS, where),
        start_joint_noise_rad=fields.number("start_joint_noise_rad", 0.0, 0.3),
        cube=cube_parameters(fields, where),
        cabinet=cabinet_parameters(fields),
    )
    fields.done()
    if needed not in parameters.objects:
        raise UserMistake(f"{where}.objects: expected the {needed} among them, the task is about it; got {list(parameters.objects)}")
    return parameters


def _subset(fields: Fields, key: str, known: tuple[str, ...], where: str) -> tuple[str, ...]:
    names = fields.texts(key)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserMistake(f"{where}.{key}: expected names of {', '.join(known)}, got {', '.join(unknown)}")
    return names
