"""What the numbers of an action vector are: known for our checkpoints, assumed for foreign ones by the data they were trained on."""

from dataclasses import dataclass, replace

from lawam_ros.contract.task import ACTION_SLOTS

_AXES = ("x", "y", "z")
_SLOT_UNITS = {"translation_chunk_relative": "m", "rotvec_chunk_relative": "rad", "gripper_opening": "m"}


@dataclass(frozen=True)
class Component:
    """One dimension. unit is "unknown" where nothing says it. assumed: by the robot of the published checkpoints, not by the file."""

    name: str
    unit: str
    assumed: bool


@dataclass(frozen=True)
class PublishedRobot:
    """How a published mixture of datasets was recorded; action_hz is None where it is not public."""

    mixture: str
    components: tuple[tuple[str, str], ...]
    action_hz: float | None
    primary_cameras: tuple[str, ...]
    wrist_cameras: tuple[str, ...]


def _per_arm(parts: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{arm} {name}", unit) for arm in ("left", "right") for name, unit in parts)


LIBERO = PublishedRobot(
    "libero",
    (
        *((f"position step {axis}", "controller units") for axis in _AXES),
        *((f"rotation vector step {axis}", "controller units") for axis in _AXES),
        ("gripper", "1 closes, 0 opens"),
    ),
    20.0,
    ("primary_view",),
    ("wrist_view",),
)
LIBERO_IN_LEROBOT = replace(LIBERO, components=(*LIBERO.components[:-1], ("gripper", "1 closes, -1 opens")))
"""LeRobot's output steps binarise the gripper to -1 or 1."""

_TOP_AND_WRISTS = (("cam_high",), ("cam_left_wrist", "cam_right_wrist"))
PUBLISHED = (
    LIBERO,
    PublishedRobot(
        "robotwin",
        _per_arm(
            (
                *((f"position {axis}", "m") for axis in _AXES),
                *((f"quaternion {part}", "1") for part in "wxyz"),
                ("gripper", "1 open, 0 closed"),
            )
        ),
        30.0,
        *_TOP_AND_WRISTS,
    ),
    PublishedRobot(
        "robotwin", _per_arm((*((f"joint {i}", "rad") for i in range(1, 7)), ("gripper", "1 open, 0 closed"))), None, *_TOP_AND_WRISTS
    ),
    PublishedRobot(
        "fold_towel",
        _per_arm(
            (
                *((f"position {axis}", "m") for axis in _AXES),
                *((name, "rad") for name in ("roll", "pitch", "yaw")),
                ("gripper", "robot units"),
            )
        ),
        20.0,
        *_TOP_AND_WRISTS,
    ),
)
"""One entry per mixture and action vector. RoboTwin has two: end poses (16 numbers) and joints (14)."""


def published_robot(mixture: str, action_size: int) -> PublishedRobot | None:
    """The published robot whose mixture name occurs in ``mixture`` and whose action vector has this size."""
    fitting = (robot for robot in PUBLISHED if robot.mixture in mixture.lower() and len(robot.components) == action_size)
    return next(fitting, None)


def components_of_slots(slots: tuple[str, ...], size: int | None = None) -> list[Component]:
    """Components of an action vector made of contract slots; of ``size`` dimensions, where several arms have the same slots each."""
    one_arm = [
        Component(f"{slot} {_AXES[i]}" if ACTION_SLOTS.get(slot, 1) == 3 else slot, _SLOT_UNITS.get(slot, "unknown"), False)
        for slot in slots
        for i in range(ACTION_SLOTS.get(slot, 1))
    ]
    arms = (size or len(one_arm)) // max(1, len(one_arm))
    if arms < 2:
        return one_arm
    return [replace(component, name=f"arm {arm} {component.name}") for arm in range(1, arms + 1) for component in one_arm]


def assumed_components(robot: PublishedRobot | None, size: int) -> list[Component]:
    """Components of a foreign checkpoint."""
    if robot is None:
        return [Component(f"dimension {i}", "unknown", False) for i in range(size)]
    return [Component(name, unit, True) for name, unit in robot.components]
