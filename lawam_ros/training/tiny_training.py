"""``lawam train tiny``: data, stage 1, stage 2 and the checkpoint of the small LaWAM in a row, resumable at any point."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.model.checkpoint import save_checkpoint
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.facts import CheckpointFacts
from lawam_ros.model.lawam import LaWAM, build_model
from lawam_ros.model.prompt import PromptEncoder, chat_text
from lawam_ros.model.sampler import sample_actions
from lawam_ros.training.batches import draw_picks, policy_batch, spread_picks, spread_rows, world_model_batch
from lawam_ros.training.data_spec import spec_of_contract
from lawam_ros.training.flow_draws import draw_flow
from lawam_ros.training.freezing import FreezePolicy, stage1_parameters, stage2_parameters, train_only
from lawam_ros.training.metrics import MetricsFile, chunk_errors, plot_metrics
from lawam_ros.training.parameter_groups import matrices_decay
from lawam_ros.training.policy_options import policy_options
from lawam_ros.training.prefetch import Make
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
from lawam_ros.training.run_state import NamedParameters, RunState, load_state, save_state, with_prefix, without_prefix
from lawam_ros.training.samples import denormalise
from lawam_ros.training.schedule import step_generators
from lawam_ros.training.sources import Source, sentences_of
from lawam_ros.training.stage1 import WorldModelLosses, WorldModelOptions, world_model_losses
from lawam_ros.training.stage2 import PolicyBatch, PolicyLosses
from lawam_ros.training.tiny_recipe import POLICY, STAGE_ORDER, WORLD_MODEL, TinyRecipe, ways_to_say
from lawam_ros.training.tokenizer import save_tokenizer, train_tokenizer
from lawam_ros.training.trainer import Execution, Hooks, Progress, StageSettings, progress_from, replanned, train_stage, training_context

STATE_FILE = "state.safetensors"
METRICS_FILE = "metrics.csv"
PLOT_FILE = "losses.png"
CHECKPOINT_FOLDER = "checkpoint"
ENCODE_CHUNK = 128


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
    """One run: where it writes, what it trains for and on, and the model being trained."""

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


def train_tiny(
    contract: Contract, config: ModelConfig, data: TinyData, out: Path, recipe: TinyRecipe, resume: bool, cache: Path | None = None
) -> Path:
    """Train and return the checkpoint folder. cache: folder for pictures and features, which runs on the same data may share; default in
    ``out``. Raises UserMistake for unusable data or an ``out`` that holds another run."""
    stored = _stored_state(out, resume)
    run = prepare_run(contract, config, data, out, recipe, cache)
    stage = stored.facts["stage"] if stored else WORLD_MODEL
    if stored:
        run.model.load_state_dict(without_prefix("weights", stored.tensors), strict=False)
    run.metrics.start(STAGE_ORDER, stage, int(stored.facts["progress"]["step"]) if stored else 0)
    if stage == WORLD_MODEL:
        _train_world_model(run, stored)
        stored = None
    _train_policy(run, stored)
    plot_metrics(out / METRICS_FILE, out / PLOT_FILE)
    return write_checkpoint(run)


def prepare_run(
    contract: Contract, config: ModelConfig, data: TinyData, out: Path, recipe: TinyRecipe, cache: Path | None = None
) -> TinyRun:
    """Everything up to the first step: tokenizer, model with seeded weights, cached data, statistics."""
    cache = cache or out / "cache"
    policy, robot = contract.task.policy, contract.robot
    out.mkdir(parents=True, exist_ok=True)
    views = (len(policy.primary_cameras), len(policy.wrist_cameras))
    train, validation = (
        tuple(open_recording(path, config, spec=spec_of_contract(contract)) for path in paths) for paths in (data.train, data.validation)
    )
    recorded = dict.fromkeys(text for recording in train for text in sentences_of(recording.dataset)[0])
    texts = [chat_text(way, *views, config) for sentence in recorded for way in ways_to_say(sentence)]
    save_tokenizer(train_tokenizer(texts, recipe.vocabulary), out / "tokenizer")
    config = replace(config, tokenizer=str(out / "tokenizer"))
    torch.manual_seed(recipe.seed)
    model = build_model(config)
    statistics = statistics_of(train)
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
    )


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


def _train_world_model(run: TinyRun, stored: RunState | None) -> None:
    recipe, lam, config = run.recipe, run.model.lam, run.model.config
    module = WorldModelLosses(lam, WorldModelOptions())

    def batch(step: int, part: int) -> tuple[Any, ...]:
        generator, noise = step_generators(recipe.seed, WORLD_MODEL, step)
        picks = draw_picks(run.train, recipe.world_model_batch, generator)
        return world_model_batch(config, run.train, picks), torch.randn((len(picks), 1, config.lam.code_dim), generator=noise)

    def evaluate() -> dict[str, float]:
        picks = spread_picks(run.validation, recipe.validation_starts)
        batch = world_model_batch(config, run.validation, picks)
        noise = torch.randn((len(picks), 1, config.lam.code_dim), generator=torch.Generator().manual_seed(recipe.seed))
        assert batch.features is not None
        with training_context():
            terms = world_model_losses(lam, batch, module.options, noise)
            predicted = lam.decoder(batch.features[:, 0], lam.teacher_latent(batch.features))
        still = (batch.features[:, 0] - batch.features[:, 1]).square().mean()
        error = (predicted.float() - batch.features[:, 1]).square().mean()
        named = {f"validation/{name}": float(value) for name, value in terms.items()}
        return named | {"subgoal/error_over_no_motion": float(error / still)}

    _run_stage(run, recipe.world_model, stage1_parameters(run.model), module, batch, evaluate, stored)
    facts = {"stage": POLICY, "progress": Progress(0, recipe.policy.steps, 0.0).as_mapping()}
    save_state(run.out / STATE_FILE, RunState(with_prefix("weights", _own_weights(run.model)), facts))


def _train_policy(run: TinyRun, stored: RunState | None) -> None:
    recipe, model, config = run.recipe, run.model, run.model.config
    taught = [tuple(source.with_teacher(teacher_latents(model, source)) for source in split) for split in (run.train, run.validation)]
    run = replace(run, train=taught[0], validation=taught[1])
    # The shipped weights were made with everything in bf16, the action expert included.
    options = replace(policy_options(config.training, config.flow.action_horizon), flow_float32=False)

    def batch(step: int, part: int) -> tuple[Any, ...]:
        generator, noise = step_generators(recipe.seed, POLICY, step)
        picks = draw_picks(run.train, recipe.batch, generator)
        ways = [ways_to_say(run.train[number].sentence(start)) for number, start in picks]
        sentences = [said[int(generator.integers(len(said)))] for said in ways]
        batch = policy_batch(config, run.train, picks, run.prompts, sentences)
        return batch, draw_flow(config.flow, options, batch.action_mask.any(-1).sum(-1), noise)

    # The token table is trained too, since nothing is pretrained here.
    parameters = stage2_parameters(model, FreezePolicy(freeze_embedding=False))
    module = PolicyLosses(model, options)
    _run_stage(run, recipe.policy, parameters, module, batch, lambda: evaluate_policy(run), stored)


def evaluate_policy(run: TinyRun) -> dict[str, float]:
    """Errors of sampled chunks on fixed observations of the validation set, and on as many of the training set."""
    model, recipe = run.model, run.recipe
    model.eval()
    figures: dict[str, float] = {}
    splits = ((run.validation, run.validation_recordings, "error"), (run.train, run.recordings, "training_error"))
    for sources, recordings, family in splits:
        errors: list[dict[str, float]] = []
        for source, recording in zip(sources, recordings, strict=True):
            starts = spread_rows(len(source.starts), max(1, recipe.validation_starts // len(sources)))
            for part in np.array_split(starts, max(1, len(starts) // 64)):
                batch = policy_batch(model.config, [source], [(0, int(start)) for start in part], run.prompts)
                errors.append(_chunk_errors(run, batch, recording.vectors.actions[source.starts[part]]))
        mean = {name: float(np.mean([e[name] for e in errors])) for name in errors[0]}
        figures |= {name.replace("error/", family + "/"): value for name, value in mean.items()}
    train_only(model, stage2_parameters(model, FreezePolicy(freeze_embedding=False)))
    write_checkpoint(run)
    plot_metrics(run.out / METRICS_FILE, run.out / PLOT_FILE)
    return figures


def _chunk_errors(run: TinyRun, batch: PolicyBatch, expected: Any) -> dict[str, float]:
    model = run.model
    assert batch.features is not None
    generator = torch.Generator().manual_seed(run.recipe.seed)
    h_t, future = batch.features.unbind(1)
    with training_context():
        output = model.vlm_forward(batch.prompt, batch.frames)
        predicted = model.foresee(h_t, output.z)
        context = model.flow.context(h_t, predicted, output.h_vlm, output.attention_mask)
        noise = torch.randn((len(h_t), model.config.flow.action_horizon, model.config.flow.action_dim), generator=generator)
        sampled = sample_actions(model.flow, context, noise, batch.action_hz, batch.embodiment_id, batch.state)
    statistics = run.statistics[run.contract.robot.embodiment_tag]["action"]
    steps, dims = expected.shape[1:]
    actions = denormalise(sampled[:, :steps, :dims].float().numpy(), statistics)
    errors = chunk_errors(actions, expected, tuple(sorted({max(1, steps // 4), max(1, steps // 2), steps})))
    still = (h_t - future).square().mean()
    errors["subgoal/error_over_no_motion"] = float((predicted.float() - future).square().mean() / still.clamp_min(1e-9))
    return errors


@torch.no_grad()
def teacher_latents(model: LaWAM, source: Source) -> Tensor:
    """Posterior means (P, 1, code_dim) of the frozen stage-1 encoder for every start and its future: a pure function of cached features."""
    parts, starts = [], source.starts
    for first in range(0, len(starts), ENCODE_CHUNK):
        rows = starts[first : first + ENCODE_CHUNK]
        now, later = source.pictures.features(rows), source.pictures.features(source.future[rows])
        assert now is not None and later is not None
        with training_context():
            parts.append(model.lam.teacher_latent(torch.stack([now, later], dim=1)))
    return torch.cat(parts).float()


def _run_stage(
    run: TinyRun,
    settings: StageSettings,
    parameters: NamedParameters,
    module: torch.nn.Module,
    batch: Make,
    evaluate: Callable[[], dict[str, float]],
    stored: RunState | None,
) -> None:
    frozen = with_prefix("weights", {key: tensor for key, tensor in _own_weights(run.model).items() if key not in parameters})

    def save(progress: Progress, tensors: dict[str, Tensor]) -> None:
        own = {f"weights.{key.removeprefix('model.')}": tensor for key, tensor in tensors.items() if key.startswith("model.")}
        rest = {key: tensor for key, tensor in tensors.items() if not key.startswith("model.")}
        facts = {"stage": settings.name, "progress": progress.as_mapping(), "recipe": asdict(run.recipe)}
        save_state(run.out / STATE_FILE, RunState(frozen | own | rest, facts))

    train_only(run.model, parameters)
    # Planned anew: a run that ended with its time goes on where --resume gives it more.
    progress = replanned(settings, progress_from(stored.facts["progress"])) if stored else None
    hooks = Hooks(module, batch, evaluate, save, run.recipe.save_seconds)
    tensors = stored.tensors if stored and progress and progress.step else None
    groups = matrices_decay(parameters, settings.peak_rate, settings.weight_decay)
    train_stage(settings, groups, hooks, run.metrics, run.recipe.seed, tensors, progress, Execution(bf16=True))


def _own_weights(model: LaWAM) -> dict[str, Tensor]:
    """Everything but the third-party encoder."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("lam.vision_encoder.")}


def _stored_state(out: Path, resume: bool) -> RunState | None:
    file = out / STATE_FILE
    if file.is_file() and not resume:
        raise UserMistake(f"{out} holds a training run; add --resume to go on with it, or choose another --out")
    return load_state(file) if file.is_file() else None


def _facts(run: TinyRun) -> CheckpointFacts:
    robot, policy = run.contract.robot, run.contract.task.policy
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
        trained_delay_steps=policy_options(run.model.config.training, run.model.config.flow.action_horizon).max_delay_steps,
        data_sha256=data_hash(run.recordings),
        training={
            "recipe": "tiny",
            "seed": run.recipe.seed,
            "episodes": {Path(recording.name).name: len(recording.dataset) for recording in run.recordings},
        },
    )
