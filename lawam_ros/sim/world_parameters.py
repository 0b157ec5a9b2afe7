"""The world section of a task file, checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.yaml_fields import Fields
from lawam_ros.sim.cabinet import CabinetParameters, cabinet_parameters
from lawam_ros.sim.cube_and_pad import CubeParameters, cube_parameters
from lawam_ros.sim.towel import TowelParameters, towel_parameters
from lawam_ros.sim.variation import VARIATIONS

T = TypeVar("T")

CUBE, CABINET, TOWEL = "cube", "cabinet", "towel"
OBJECTS = (CUBE, CABINET, TOWEL)


@dataclass(frozen=True)
class WorldParameters:
    """objects: what stands on the table, of ``OBJECTS``. perturb: what changes from episode to episode, of ``VARIATIONS``. A thing that the
    task file says nothing about is None."""

    objects: tuple[str, ...]
    perturb: tuple[str, ...]
    start_joint_noise_rad: float
    cube: CubeParameters | None
    cabinet: CabinetParameters | None
    towel: TowelParameters | None


def world_parameters(contract: Contract, needed: str) -> WorldParameters:
    """Validated world section of the task, whose goal needs one certain object. Raises UserMistake naming the key."""
    where = f"task {contract.task.name}.world"
    fields = Fields(contract.task.world, where)
    fields.text("name")
    objects = _subset(fields, "objects", OBJECTS, where)

    def described(thing: str, first_key: str, read: Callable[[], T]) -> T | None:
        """A thing on the table must be described, another one may be."""
        return read() if thing in objects or fields.has(first_key) else None

    parameters = WorldParameters(
        objects=objects,
        perturb=_subset(fields, "perturb", VARIATIONS, where),
        start_joint_noise_rad=fields.number("start_joint_noise_rad", 0.0, 0.3),
        cube=described(CUBE, "cube_size_m", lambda: cube_parameters(fields, where)),
        cabinet=described(CABINET, "cabinet_rgb", lambda: cabinet_parameters(fields)),
        towel=described(TOWEL, "towel_size_m", lambda: towel_parameters(fields)),
    )
    fields.done()
    if needed not in parameters.objects:
        raise UserMistake(f"{where}.objects: expected the {needed} among them, the task is about it; got {list(parameters.objects)}")
    return parameters


def on_table(thing: T | None) -> T:
    """Parameters of a thing that is among the objects."""
    if thing is None:
        raise ValueError("expected a thing that stands on the table")
    return thing


def _subset(fields: Fields, key: str, known: tuple[str, ...], where: str) -> tuple[str, ...]:
    names = fields.texts(key)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserMistake(f"{where}.{key}: expected names of {', '.join(known)}, got {', '.join(unknown)}")
    return names
