"""What one call of ``lawam train stage1`` or ``stage2`` asks for, and the datasets made ready for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.lawam import LatentActionModel
from lawam_ros.training.distributed import Processes, wait_for_all
from lawam_ros.training.losses import HUMAN_EMBODIMENT
from lawam_ros.training.recordings import (
    Recording,
    Window,
    cache_bytes,
    cached_pictures,
    decoded_pictures,
    free_bytes,
    make_source,
    open_recording,
    validation_split,
    window_rows,
)
from lawam_ros.training.run_folder import RunFolder
from lawam_ros.training.sources import Pictures, Source
from lawam_ros.training.stage_recipe import StageRecipe
from lawam_ros.training.subgoals import SubgoalSample

CACHE_MODES = ("auto", "on", "off")
_LARGEST_AUTOMATIC_CACHE = 20 * 2**30

SubgoalSheet = Callable[[Path, list[SubgoalSample]], None]
"""Draws samples into a picture file."""


@dataclass(frozen=True)
class RunPlan:
    """data, validation: dataset folders; without validation the last episodes of the data are held back. init: paths of initial weights.
    embodiment: (tag, id) of all data instead of their own. statistics: content of ``dataset_statistics.json`` to keep, None to take the
    data's. cache: whether pictures and features are kept on disk. draw: for pictures of predicted and true subgoals.
    """

    data: tuple[Path, ...]
    validation: tuple[Path, ...]
    out: Path
    config: ModelConfig
    recipe: StageRecipe
    recipe_name: str
    init: tuple[Path, ...]
    seed: int
    embodiment: tuple[str, int] | None
    statistics: dict[str, Any] | None
    bf16: bool
    workers: int
    cache: str
    draw: SubgoalSheet | None

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.out)

    def identity(self, stage: str, processes: int) -> dict[str, Any]:
        """What must be the same when a run is continued. Batches and processes may be shared out differently: their product counts."""
        recipe = self.recipe
        return {
            "stage": stage,
            "data": [str(path.resolve()) for path in self.data],
            "init": [str(path.resolve()) for path in self.init],
            "recipe": self.recipe_name,
            "recipe_crc": recipe.crc,
            "seed": self.seed,
            "batch_size": recipe.batch_size,
            "parts": recipe.settings.accumulate * processes,
            "bf16": self.bf16,
            "options": dict(self.config.training),
        }


@dataclass(frozen=True)
class ReadyData:
    """recordings: of the training data. train, validation: their sources."""

    recordings: list[Recording]
    train: list[Source]
    validation: list[Source]


def open_all(plan: RunPlan, paths: Sequence[Path]) -> list[Recording]:
    return [open_recording(path, plan.config, plan.embodiment) for path in paths]


def ready_data(
    plan: RunPlan,
    recordings: list[Recording],
    held_out: list[Recording],
    statistics: dict[str, Any],
    lam: LatentActionModel,
    processes: Processes,
) -> ReadyData:
    """Sources of training and validation; the first process fills the caches before the others open them."""
    if not processes.first:
        wait_for_all(processes)
    data = _ready_data(plan, recordings, held_out, statistics, lam)
    if processes.first:
        wait_for_all(processes)
    return data


def _ready_data(
    plan: RunPlan, recordings: list[Recording], held_out: list[Recording], statistics: dict[str, Any], lam: LatentActionModel
) -> ReadyData:
    cached = _use_cache(plan, recordings + held_out)
    train, validation = [], []
    for number, recording in enumerate(recordings + held_out):
        tag = recording.spec.embodiment_tag
        if tag not in statistics:
            raise UserMistake(f"{recording.name}: expected statistics of embodiment '{tag}', there are {', '.join(statistics)}")
        starts, future = window_rows(recording, _window(plan.recipe, recording))
        pictures: Pictures = decoded_pictures(recording, plan.config)
        if cached:
            folder = plan.folder.cache(f"{number}_{recording.dataset.root.name}")
            pictures = cached_pictures(recording, plan.config, lam, starts, future, folder)
        source = make_source(recording, statistics[tag], pictures, starts, future)
        if number >= len(recordings):
            validation.append(source)
            continue
        early, late = validation_split(recording, starts, plan.recipe.tail_ratio) if not held_out else (starts, starts[:0])
        train.append(replace(source, starts=starts if plan.recipe.train_on_all or not len(early) else early))
        if len(late):
            validation.append(replace(source, starts=late))
    return ReadyData(recordings, train, validation)


def _window(recipe: StageRecipe, recording: Recording) -> Window:
    return recipe.human_window if recording.spec.embodiment_id == HUMAN_EMBODIMENT else recipe.window


def _use_cache(plan: RunPlan, recordings: Sequence[Recording]) -> bool:
    if plan.recipe.augments:
        if plan.cache == "on":
            raise UserMistake("--cache on: features of augmented pictures change from step to step and cannot be cached; use --cache off")
        return False
    if plan.cache == "auto":
        needed = sum(cache_bytes(recording, plan.config, plan.recipe.window.stride) for recording in recordings)
        return plan.folder.cache("").is_dir() or needed <= min(_LARGEST_AUTOMATIC_CACHE, free_bytes(plan.out) // 2)
    return plan.cache == "on"
