"""What a run of ``lawam train tiny`` consists of: its data, its model, its folder, and the checkpoint written there."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.model.checkpoint import save_checkpoint
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.facts import CheckpointFacts
from lawam_ros.model.lawam import LaWAM, build_model
from lawam_ros.model.prompt import PromptEncoder, chat_text
from lawam_ros.training.data_spec import spec_of_contract
from lawam_ros.training.initial_weights import checkpoint_statistics, load_initial, read_initial
from lawam_ros.training.metrics import MetricsFile
from lawam_ros.training.policy_options import policy_options
from lawam_ros.training.process_setup import cpu_multiplies_bfloat16
from lawam_ros.training.recordings import (
    Recording,
    Window,
    cached_pictures,
    data_hash,
    make_source,
    open_recording,
    statistics_of,
    window_rows,
)
from lawam_ros.training.sources import Source, sentences_of
from lawam_ros.training.tiny_recipe import TinyRecipe, ways_to_say
from lawam_ros.training.tokenizer import save_tokenizer, train_tokenizer

METRICS_FILE = "metrics.csv"
CHECKPOINT_FOLDER = "checkpoint"


@dataclass(frozen=True)
class TinyData:
    """Dataset folders of both splits."""

    train: tuple[Path, ...]
    validation: tuple[Path, ...]


def tiny_data(folder: Path) -> TinyData:
    """Datasets of a folder: those whose names begin with ``train`` and those whose names begin with ``val``. UserMistake without both."""
    splits = {split: tuple(sorted(path for path in folder.glob(f"{split}*") if path.is_dir())) for split in ("train", "val")}
    for split, found in splits.items():
        if not found:
            raise UserMistake(f"--data: expected LeRobot datasets named {split}... in {folder}, found none; see 'lawam data make'")
    return TinyData(splits["train"], splits["val"])


@dataclass(frozen=True)
class TinyRun:
    """One run: where it writes, what it trains for and on, and the model being trained. taught: whether the model holds the teacher of
    latent actions. bf16: matrix products in bfloat16, where the CPU has instructions for them."""

    out: Path
    contract: Contract
    recipe: TinyRecipe
    model: LaWAM
    prompts: PromptEncoder
    statistics: dict[str, Any]
    train: tuple[Source, ...]
    validation: tuple[Source, ...]
    recordings: tuple[Recording, ...]
    validation_recordings: tuple[Recording, ...]
    metrics: MetricsFile
    init: Path | None
    taught: bool
    bf16: bool


def prepare_run(
    contract: Contract,
    config: ModelConfig,
    data: TinyData,
    out: Path,
    recipe: TinyRecipe,
    cache: Path | None = None,
    init: Path | None = None,
) -> TinyRun:
    """Everything up to the first step: tokenizer, model with seeded weights, cached data, statistics. init: checkpoint whose weights,
    tokenizer and statistics are taken instead; ``config`` is its own then."""
    cache = cache or out / "cache"
    policy, robot = contract.task.policy, contract.robot
    out.mkdir(parents=True, exist_ok=True)
    views = (len(policy.primary_cameras), len(policy.wrist_cameras))
    train, validation = (
        tuple(open_recording(path, config, spec=spec_of_contract(contract)) for path in paths) for paths in (data.train, data.validation)
    )
    statistics = statistics_of(train) if init is None else checkpoint_statistics(init) or {}
    if robot.embodiment_tag not in statistics:
        known = ", ".join(statistics) or "none"
        raise UserMistake(f"--init: expected a checkpoint with statistics of embodiment '{robot.embodiment_tag}', it has {known}")
    if init is None:
        recorded = dict.fromkeys(text for recording in train for text in sentences_of(recording.dataset)[0])
        texts = [chat_text(way, *views, config) for sentence in recorded for way in ways_to_say(sentence)]
        save_tokenizer(train_tokenizer(texts, recipe.vocabulary), out / "tokenizer")
        config = replace(config, tokenizer=str(out / "tokenizer"))
    torch.manual_seed(recipe.seed)
    model = build_model(config)
    taught = init is None or _loaded(model, init)
    own = statistics[robot.embodiment_tag]
    return TinyRun(
        out=out,
        contract=contract,
        recipe=recipe,
        model=model,
        prompts=PromptEncoder(config),
        statistics=statistics,
        train=tuple(_load(recording, model, own, recipe, cache) for recording in train),
        validation=tuple(_load(recording, model, own, recipe, cache) for recording in validation),
        recordings=train,
        validation_recordings=validation,
        metrics=MetricsFile(out / METRICS_FILE),
        init=init,
        taught=taught,
        bf16=cpu_multiplies_bfloat16(),
    )


def _loaded(model: LaWAM, init: Path) -> bool:
    """Fill the model with the checkpoint's weights; whether the teacher is among them."""
    report = load_initial(model, read_initial((init,)))
    print(report.sentence())
    return report.has_teacher


def write_checkpoint(run: TinyRun) -> Path:
    """The weights as they are now in the layout of released checkpoints, replacing an earlier one.

    What inference does not read is left out and 16-bit numbers do, because this file is shipped; the run's state keeps everything in full.
    """
    target, part = run.out / CHECKPOINT_FOLDER, run.out / (CHECKPOINT_FOLDER + ".part")
    shutil.rmtree(part, ignore_errors=True)
    half = torch.float16
    save_checkpoint(part, run.model, run.statistics, _facts(run), run.prompts.tokenizer, half, half, inference_only=True)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    return target


def _load(recording: Recording, model: LaWAM, statistics: dict[str, Any], recipe: TinyRecipe, folder: Path) -> Source:
    starts, future = window_rows(recording, Window(stride=recipe.stride))
    pictures = cached_pictures(recording, model.config, model.lam, starts, future, folder / Path(recording.name).name, dtype=torch.float16)
    return make_source(recording, statistics, pictures, starts, future)


def _facts(run: TinyRun) -> CheckpointFacts:
    robot, policy = run.contract.robot, run.contract.task.policy
    options = policy_options(run.model.config.training, run.model.config.flow.action_horizon)
    return CheckpointFacts(
        robot=robot.name,
        embodiment_tag=robot.embodiment_tag,
        embodiment_id=robot.embodiment_id,
        action_hz=policy.action_hz,
        horizon_s=policy.horizon_s,
        action_offset_steps=policy.action_offset_steps,
        primary_cameras=policy.primary_cameras,
        wrist_cameras=policy.wrist_cameras,
        state=policy.state,
        action=policy.action,
        trained_delay_steps=options.max_delay_steps,
        noise_scale=options.noise_scale,
        data_sha256=data_hash(run.recordings),
        training={
            "recipe": "tiny",
            "seed": run.recipe.seed,
            **({"init": run.init.name} if run.init else {}),
            **({"only_expert": True} if run.recipe.only_expert else {}),
            "episodes": {Path(recording.name).name: len(recording.dataset) for recording in run.recordings},
        },
    )
