"""``lawam train tiny``: data, stage 1, stage 2 and the checkpoint of the small LaWAM in a row, resumable at any point."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.lawam import LaWAM
from lawam_ros.training.batches import draw_picks, policy_batch, spread_picks, world_model_batch
from lawam_ros.training.context_cache import own_sentences, with_context
from lawam_ros.training.flow_draws import draw_flow
from lawam_ros.training.freezing import FreezePolicy, stage1_parameters, stage2_parameters, train_only
from lawam_ros.training.metrics import plot_metrics
from lawam_ros.training.parameter_groups import matrices_decay
from lawam_ros.training.policy_options import policy_options, without_teacher
from lawam_ros.training.prefetch import Make
from lawam_ros.training.run_state import NamedParameters, RunState, load_state, save_state, with_prefix, without_prefix
from lawam_ros.training.schedule import step_generators
from lawam_ros.training.stage1 import WorldModelLosses, WorldModelOptions, world_model_losses
from lawam_ros.training.stage2 import PolicyLosses
from lawam_ros.training.teacher_latents import with_teacher
from lawam_ros.training.tiny_errors import policy_errors
from lawam_ros.training.tiny_recipe import POLICY, STAGE_ORDER, WORLD_MODEL, TinyRecipe, ways_to_say
from lawam_ros.training.tiny_run import METRICS_FILE, TinyData, TinyRun, prepare_run, write_checkpoint
from lawam_ros.training.trainer import Execution, Hooks, Progress, StageSettings, progress_from, replanned, train_stage, training_context

STATE_FILE = "state.safetensors"
PLOT_FILE = "losses.png"
TEACHER_FOLDER = "teacher"
CONTEXT_FOLDER = "context"


def train_tiny(
    contract: Contract,
    config: ModelConfig,
    data: TinyData,
    out: Path,
    recipe: TinyRecipe,
    resume: bool,
    cache: Path | None = None,
    init: Path | None = None,
) -> Path:
    """Train and return the checkpoint folder. cache: folder for pictures and features, which runs on the same data may share; default in
    ``out``. init: checkpoint whose policy is trained further, without stage 1. Raises UserMistake for unusable data or an ``out`` that
    holds another run."""
    stored = _stored_state(out, resume, init, recipe.only_expert)
    run = prepare_run(contract, config, data, out, recipe, cache, init)
    stage = stored.facts["stage"] if stored else WORLD_MODEL if init is None else POLICY
    if stored:
        run.model.load_state_dict(without_prefix("weights", stored.tensors), strict=False)
    run.metrics.start(STAGE_ORDER, stage, int(stored.facts["progress"]["step"]) if stored else 0)
    if stage == WORLD_MODEL:
        _train_world_model(run, stored)
        stored = None
    _train_policy(run, stored)
    plot_metrics(out / METRICS_FILE, out / PLOT_FILE)
    return write_checkpoint(run)


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
        with training_context(run.bf16):
            terms = world_model_losses(lam, batch, module.options, noise)
            predicted = lam.decoder(batch.features[:, 0], lam.teacher_latent(batch.features))
        still = (batch.features[:, 0] - batch.features[:, 1]).square().mean()
        error = (predicted.float() - batch.features[:, 1]).square().mean()
        named = {f"validation/{name}": float(value) for name, value in terms.items()}
        return named | {"subgoal/error_over_no_motion": float(error / still)}

    _run_stage(run, recipe.world_model, stage1_parameters(run.model), module, batch, evaluate, stored)
    facts = {"stage": POLICY, "progress": Progress(0, recipe.policy.steps, 0.0).as_mapping(), "init": _named(run.init)}
    save_state(run.out / STATE_FILE, RunState(with_prefix("weights", _own_weights(run.model)), facts))


def _train_policy(run: TinyRun, stored: RunState | None) -> None:
    recipe, model, config = run.recipe, run.model, run.model.config
    # Where matrix products are in bf16, the action expert's are too: so the shipped weights were made.
    options = replace(policy_options(config.training, config.flow.action_horizon), flow_float32=False)
    if recipe.only_expert:
        run, options = _with_context(run), replace(options, distillation=False)
    elif run.taught:
        run = _with_teacher(run)
    elif options.distillation:
        options = without_teacher(options)

    def batch(step: int, part: int) -> tuple[Any, ...]:
        generator, noise = step_generators(recipe.seed, POLICY, step)
        picks = draw_picks(run.train, recipe.batch, generator)
        ways = [ways_to_say(run.train[number].sentence(start)) for number, start in picks]
        sentences = [said[int(generator.integers(len(said)))] for said in ways]
        batch = policy_batch(config, run.train, picks, run.prompts, sentences)
        return batch, draw_flow(config.flow, options, batch.action_mask.any(-1).sum(-1), noise)

    # The token table is trained too, since nothing is pretrained here.
    parameters = stage2_parameters(model, FreezePolicy(freeze_embedding=False, only_action_expert=recipe.only_expert))
    module = PolicyLosses(model, options)

    def evaluate() -> dict[str, float]:
        figures = policy_errors(run)
        train_only(model, parameters)
        write_checkpoint(run)
        plot_metrics(run.out / METRICS_FILE, run.out / PLOT_FILE)
        return figures

    _run_stage(run, recipe.policy, parameters, module, batch, evaluate, stored)


def _with_teacher(run: TinyRun) -> TinyRun:
    """The run with the teacher's latent actions of all its starts."""
    total = sum(len(source.starts) for split in (run.train, run.validation) for source in split)
    with tqdm(desc="latent actions of the teacher", unit="start", mininterval=2.0, total=total) as bar:
        train, validation = (
            tuple(with_teacher(source, run.model, torch.device("cpu"), run.bf16, run.out / TEACHER_FOLDER, bar.update) for source in split)
            for split in (run.train, run.validation)
        )
    return replace(run, train=train, validation=validation)


def _with_context(run: TinyRun) -> TinyRun:
    """The run with what the action expert reads of all its starts, each told in one of the ways to say its sentence."""
    folder, train = run.out / CONTEXT_FOLDER, []
    with tqdm(desc="language states", unit="start", mininterval=2.0, total=sum(len(source.starts) for source in run.train)) as bar:
        for number, source in enumerate(run.train):
            generator = np.random.default_rng([run.recipe.seed, number])
            ways = [ways_to_say(sentence) for sentence in own_sentences(source)]
            said = [way[int(generator.integers(len(way)))] for way in ways]
            train.append(with_context(source, run.model, run.prompts, said, run.bf16, torch.float16, folder, bar.update))
    return replace(run, train=tuple(train))


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
        facts = {"stage": settings.name, "progress": progress.as_mapping(), "recipe": asdict(run.recipe), "init": _named(run.init)}
        save_state(run.out / STATE_FILE, RunState(frozen | own | rest, facts))

    train_only(run.model, parameters)
    # Planned anew: a run that ended with its time goes on where --resume gives it more.
    progress = replanned(settings, progress_from(stored.facts["progress"])) if stored else None
    hooks = Hooks(module, batch, evaluate, save, run.recipe.save_seconds)
    tensors = stored.tensors if stored and progress and progress.step else None
    groups = matrices_decay(parameters, settings.peak_rate, settings.weight_decay)
    train_stage(settings, groups, hooks, run.metrics, run.recipe.seed, tensors, progress, Execution(bf16=run.bf16))


def _own_weights(model: LaWAM) -> dict[str, Tensor]:
    """Everything but the third-party encoder."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("lam.vision_encoder.")}


def _named(init: Path | None) -> str:
    return "" if init is None else str(init.resolve())


def _stored_state(out: Path, resume: bool, init: Path | None, only_expert: bool) -> RunState | None:
    file = out / STATE_FILE
    if not file.is_file():
        return None
    if not resume:
        raise UserMistake(f"{out} holds a training run; add --resume to go on with it, or choose another --out")
    stored = load_state(file)
    begun = stored.facts.get("init", "")
    if begun != _named(init):
        raise UserMistake(f"--resume: expected --init {begun or 'to be left out'}, as the run in {out} began, got {init or 'none'}")
    if stored.facts.get("recipe", {}).get("only_expert", False) != only_expert:
        raise UserMistake(f"--resume: expected --only-expert {'to be left out' if only_expert else 'again'}, as the run in {out} began")
    return stored
