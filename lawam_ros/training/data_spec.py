"""What a dataset folder means to a policy: embodiment, cameras, and which columns are state and action.

Folders recorded by ``lawam data make`` name their task, whose contract says everything. Others may bring ``meta/lawam.yaml``; without it
all of ``observation.state`` and ``action`` is taken as it is, cameras with "wrist" in their name come after the others, and the embodiment
follows from the robot type.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract, load_contract
from lawam_ros.contract.yaml_fields import Fields, load_yaml
from lawam_ros.data.episode_schema import ACTION, IMAGE_PREFIX, REFERENCE, STATE
from lawam_ros.data.lerobot_reader import LeRobotDataset

SPEC_FILE = Path("meta") / "lawam.yaml"
MODES = ("min_max", "q99", "binary", "raw")
OFFICIAL_IDS = {
    "human": 0,
    "agilex": 1,
    "franka_fr3_dual": 2,
    "ur": 3,
    "panda_omron": 4,
    "oxe_droid": 17,
    "oxe_bridge": 18,
    "oxe_rt1": 19,
    "gr1": 24,
    "franka": 25,
    "agibot_genie1": 26,
    "new_embodiment": 31,
}
NEW_EMBODIMENT = "new_embodiment"


@dataclass(frozen=True)
class ColumnPart:
    """Dimensions ``start`` to ``end`` (None: the last) of a column. mode: normalisation. absolute: past the end of an episode the last row
    is repeated, otherwise zeros follow."""

    column: str
    start: int = 0
    end: int | None = None
    mode: str = "min_max"
    absolute: bool = True


@dataclass(frozen=True)
class DataSpec:
    """primary, wrist: video columns in prompt order. state, action: parts of columns; both empty where ``contract`` says what to make of
    the recorded poses. A dataset without action columns serves stage 1 only."""

    robot: str
    embodiment_tag: str
    embodiment_id: int
    primary: tuple[str, ...]
    wrist: tuple[str, ...]
    state: tuple[ColumnPart, ...] = ()
    action: tuple[ColumnPart, ...] = ()
    contract: Contract | None = None
    weight: float = 1.0

    @property
    def has_actions(self) -> bool:
        return self.contract is not None or bool(self.action)


def data_spec(dataset: LeRobotDataset, embodiment: tuple[str, int] | None = None) -> DataSpec:
    """Meaning of a dataset. ``embodiment`` (tag, id) overrides the dataset's. Raises UserMistake where it cannot be told."""
    recipe = dataset.info.get("recipe") or {}
    if (dataset.root / SPEC_FILE).is_file():
        spec = _from_file(dataset)
    elif "task" in recipe and all(key in dataset.features for key in (STATE, REFERENCE, ACTION)):
        overrides = list(recipe.get("overrides") or [])
        spec = spec_of_contract(load_contract(str(recipe["task"]), recipe.get("robot"), overrides))
    else:
        spec = _from_columns(dataset)
    if embodiment is not None:
        spec = replace(spec, embodiment_tag=embodiment[0], embodiment_id=embodiment[1])
    missing = [key for key in (*spec.primary, *spec.wrist) if key not in dataset.video_keys]
    if missing or not spec.primary:
        raise UserMistake(
            f"{dataset.root}: expected at least one primary camera and the cameras {', '.join(missing) or '(any)'}, "
            f"the dataset has {', '.join(dataset.video_keys) or 'none'}"
        )
    return spec


def spec_of_contract(contract: Contract) -> DataSpec:
    """Meaning of a dataset recorded for a task."""
    robot, policy = contract.robot, contract.task.policy
    return DataSpec(
        robot=robot.name,
        embodiment_tag=robot.embodiment_tag,
        embodiment_id=robot.embodiment_id,
        primary=tuple(IMAGE_PREFIX + name for name in policy.primary_cameras),
        wrist=tuple(IMAGE_PREFIX + name for name in policy.wrist_cameras),
        contract=contract,
    )


def _from_columns(dataset: LeRobotDataset) -> DataSpec:
    robot = str(dataset.info.get("robot_type") or "unknown")
    tag = robot if robot in OFFICIAL_IDS else NEW_EMBODIMENT
    return DataSpec(
        robot=robot,
        embodiment_tag=tag,
        embodiment_id=OFFICIAL_IDS[tag],
        primary=tuple(key for key in dataset.video_keys if "wrist" not in key),
        wrist=tuple(key for key in dataset.video_keys if "wrist" in key),
        state=(ColumnPart(STATE),) if STATE in dataset.features else (),
        action=(ColumnPart(ACTION),) if ACTION in dataset.features else (),
    )


def _from_file(dataset: LeRobotDataset) -> DataSpec:
    path = dataset.root / SPEC_FILE
    fields = Fields(load_yaml(path, "dataset"), str(path))
    embodiment, cameras = fields.child("embodiment"), fields.child("cameras")
    spec = DataSpec(
        robot=fields.text("robot") if fields.has("robot") else str(dataset.info.get("robot_type") or "unknown"),
        embodiment_tag=embodiment.text("tag"),
        embodiment_id=embodiment.integer("id", 0, 10_000),
        primary=cameras.texts("primary"),
        wrist=cameras.texts("wrist") if cameras.has("wrist") else (),
        state=_parts(fields, "state"),
        action=_parts(fields, "action"),
        weight=fields.number("weight", 0.0, 1e9) if fields.has("weight") else 1.0,
    )
    for section in (embodiment, cameras, fields):
        section.done()
    return spec


def _parts(fields: Fields, key: str) -> tuple[ColumnPart, ...]:
    if not fields.has(key):
        return ()
    listed = fields.raw(key)
    if not isinstance(listed, list):
        raise UserMistake(f"{SPEC_FILE}.{key}: expected a list of parts with 'column', got {listed!r}")
    parts = []
    for number, entry in enumerate(listed):
        part = Fields(entry, f"{SPEC_FILE}.{key}[{number}]")
        parts.append(
            ColumnPart(
                column=part.text("column"),
                start=part.integer("start", 0, 4096) if part.has("start") else 0,
                end=part.integer("end", 1, 4096) if part.has("end") else None,
                mode=part.choice("mode", MODES) if part.has("mode") else "min_max",
                absolute=part.flag("absolute") if part.has("absolute") else True,
            )
        )
        part.done()
    return tuple(parts)
