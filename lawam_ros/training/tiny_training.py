"""``lawam train tiny``: data, stage 1, stage 2 and the checkpoint of the small LaWAM in a row, resumable at any point."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.model.checkpoint import save_checkpoint
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.facts import CheckpointFacts
from lawam_ros.model.lawam import LaWAM, build_model
from lawam_ros.model.prompt import PromptEncoder, chat_text
from lawam_ros.model.sampler import sample_actions
from lawam_ros.training.batches import BatchSource, batch_source, draw_rows, policy_batch, spread_rows, world_model_batch
from lawam_ros.training.demonstrations import Demonstrations, load_demonstrations
from lawam_ros.training.metrics import MetricsFile, chunk_errors, plot_metrics
from lawam_ros.training.repeated_flow import fast_cpu_attention
from lawam_ros.training.run_state import RunState, load_state, save_state, with_prefix, without_prefix
from lawam_ros.training.samples import dataset_statistics, denormalise
from lawam_ros.training.schedule import step_generators
from lawam_ros.training.stage1 import stage1_parameters, world_model_losses
from lawam_ros.training.stage2 import loss_weights, policy_losses, stage2_parameters
from lawam_ros.training.tiny_recipe import POLICY, STAGE_ORDER, WORLD_MODEL, TinyRecipe
from lawam_ros.training.tokenizer import save_tokenizer, train_tokenizer
from lawam_ros.training.trainer import Hooks, Progress, train_stage, training_context

STATE_FILE = "state.safetensors"
METRICS_FILE = "metrics.csv"
PLOT_FILE = "losses.png"
CHECKPOINT_FOLDER = "checkpoint"
ENCODE_CHUNK = 128


@dataclass(frozen=True)
class TinyRun:
    """One run: where it writes, what it trains for and on, and the model being trained."""

    out: Path
    contract: Contract
    recipe: TinyRecipe
    model: LaWAM
    prompts: PromptEncoder
    statistics: dict[str, Any]
    train: BatchSource
    validation: BatchSource
    metrics: MetricsFile


def train_tiny(
    contract: Contract, config: ModelConfig, train_data: Path, validation_data: Path, out: Path, recipe: TinyRecipe, resume: bool
) -> Path:
    """Train and return the checkpoint folder. Raises UserMistake for unusable data or an ``out`` that holds another run."""
    stored = _stored_state(out, resume)
    run = prepare_run(contract, config, train_data, validation_data, out, recipe)
    with fast_cpu_attention():
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


def prepare_run(contract: Contract, config: ModelConfig, train_data: Path, validation_data: Path, out: Path, recipe: TinyRecipe) -> TinyRun:
    """Everything up to the first step: tokenizer, model with seeded weights, cached data, statistics."""
    policy, robot = contract.task.policy, contract.robot
    out.mkdir(parents=True, exist_ok=True)
    views = (len(policy.primary_cameras), len(policy.wrist_cameras))
    texts = [chat_text(sentence, *views, config) for sentence in recipe.sentences]
    save_tokenizer(train_tokenizer(texts, recipe.vocabulary), out / "tokenizer")
    config = replace(config, tokenizer=str(out / "tokenizer"))
    torch.manual_seed(recipe.seed)
    model = build_model(config)
    train = _load(train_data, contract, recipe, model, out / "cache" / "train")
    validation = _load(validation_data, contract, recipe, model, out / "cache" / "validation")
    statistics = dataset_statistics(train.chunks, train.episodes, robot.embodiment_tag, policy.action)
    widths = (config.flow.action_dim, config.flow.state_dim)
    train_source, validation_source = (
        batch_source(data, statistics[robot.embodiment_tag], widths, views, robot.embodiment_id, policy.action_hz)
        for data in (train, validation)
    )
    return TinyRun(
        out=out,
        contract=contract,
        recipe=recipe,
        model=model,
        prompts=PromptEncoder(config),
        statistics=statistics,
        train=train_source,
        validation=validation_source,
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


def _load(root: Path, contract: Contract, recipe: TinyRecipe, model: LaWAM, cache: Path) -> Demonstrations:
    encoder = model.lam.vision_encoder
    encoder.to(memory_format=torch.channels_last)
    with tqdm(desc=f"features of {root.name}", unit="frame", mininterval=2.0) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return load_demonstrations(
            root,
            contract.task.policy,
            recipe.stride,
            cache,
            model.encode_images,
            getattr(encoder, "identity", {}),
            model.config.image_size,
            report,
        )


def _train_world_model(run: TinyRun, stored: RunState | None) -> None:
    recipe, lam = run.recipe, run.model.lam
    run.model.train()

    def losses(step: int) -> dict[str, Tensor]:
        generator, noise = step_generators(recipe.seed, WORLD_MODEL, step)
        starts = run.train.demonstrations.starts
        batch = world_model_batch(run.train, starts[draw_rows(len(starts), recipe.world_model_batch, generator)])
        with training_context():
            return world_model_losses(lam, batch, noise)

    def evaluate() -> dict[str, float]:
        starts = run.validation.demonstrations.starts
        batch = world_model_batch(run.validation, starts[spread_rows(len(starts), recipe.validation_starts)])
        with training_context():
            terms = world_model_losses(lam, batch, torch.Generator().manual_seed(recipe.seed))
            predicted = lam.decoder(batch.features[:, 0], lam.teacher_latent(batch.features))
        still = (batch.features[:, 0] - batch.features[:, 1]).square().mean()
        error = (predicted.float() - batch.features[:, 1]).square().mean()
        named = {f"validation/{name}": float(value) for name, value in terms.items()}
        return named | {"subgoal/error_over_no_motion": float(error / still)}

    _run_stage(run, WORLD_MODEL, recipe.world_model, stage1_parameters(run.model), losses, evaluate, stored)
    facts = {"stage": POLICY, "progress": Progress(0, recipe.policy.steps, 0.0).as_mapping()}
    save_state(run.out / STATE_FILE, RunState(with_prefix("weights", _own_weights(run.model)), facts))


def _train_policy(run: TinyRun, stored: RunState | None) -> None:
    recipe, model = run.recipe, run.model
    model.train()
    teachers = [teacher_latents(model, source) for source in (run.train, run.validation)]
    weights = loss_weights(model.config)

    def losses(step: int) -> dict[str, Tensor]:
        generator, noise = step_generators(recipe.seed, POLICY, step)
        starts = draw_rows(len(run.train.demonstrations.starts), recipe.batch, generator)
        sentences = [recipe.sentences[i] for i in generator.integers(0, len(recipe.sentences), recipe.batch)]
        batch = policy_batch(run.train, starts, run.prompts, sentences, teachers[0])
        with training_context():
            return policy_losses(model, batch, weights, noise)

    _run_stage(run, POLICY, recipe.policy, stage2_parameters(model), losses, lambda: evaluate_policy(run, teachers), stored)


def evaluate_policy(run: TinyRun, teachers: list[Tensor]) -> dict[str, float]:
    """Errors of sampled chunks on fixed observations of the validation set, and on as many of the training set."""
    model, recipe = run.model, run.recipe
    model.eval()
    figures: dict[str, float] = {}
    for source, teacher, family in ((run.validation, teachers[1], "error"), (run.train, teachers[0], "training_error")):
        starts = spread_rows(len(source.demonstrations.starts), recipe.validation_starts)
        errors: list[dict[str, float]] = []
        for part in np.array_split(starts, max(1, len(starts) // 64)):
            sentences = [recipe.sentences[0]] * len(part)
            errors.append(_chunk_errors(run, source, policy_batch(source, part, run.prompts, sentences, teacher), part))
        mean = {name: float(np.mean([e[name] for e in errors])) for name in errors[0]}
        figures |= {name.replace("error/", family + "/"): value for name, value in mean.items()}
    model.train()
    write_checkpoint(run)
    plot_metrics(run.out / METRICS_FILE, run.out / PLOT_FILE)
    return figures


def _chunk_errors(run: TinyRun, source: BatchSource, batch: Any, starts: Any) -> dict[str, float]:
    model = run.model
    generator = torch.Generator().manual_seed(run.recipe.seed)
    with training_context():
        output = model.vlm_forward(batch.prompt, batch.frames)
        predicted = model.lam.decoder(batch.features, output.z)
        context = model.flow.context(batch.features, predicted, output.h_vlm, output.attention_mask)
        noise = torch.randn((len(starts), model.config.flow.action_horizon, model.config.flow.action_dim), generator=generator)
        sampled = sample_actions(model.flow, context, noise, batch.action_hz, batch.embodiment_id, batch.state)
    statistics = run.statistics[run.contract.robot.embodiment_tag]["action"]
    actions = denormalise(sampled[..., : batch.action_dims].float().numpy(), statistics)
    expected = source.demonstrations.chunks.actions[source.demonstrations.starts[starts]]
    steps = expected.shape[1]
    errors = chunk_errors(actions, expected, tuple(sorted({max(1, steps // 4), max(1, steps // 2), steps})))
    still = (batch.features - batch.future_features).square().mean()
    errors["subgoal/error_over_no_motion"] = float((predicted.float() - batch.future_features).square().mean() / still.clamp_min(1e-9))
    return errors


@torch.no_grad()
def teacher_latents(model: LaWAM, source: BatchSource) -> Tensor:
    """Posterior means (P, 1, code_dim) of the frozen stage-1 encoder for every start and its future: a pure function of cached features."""
    parts, starts = [], source.demonstrations.starts
    for first in range(0, len(starts), ENCODE_CHUNK):
        with training_context():
            parts.append(model.lam.teacher_latent(world_model_batch(source, starts[first : first + ENCODE_CHUNK]).features))
    return torch.cat(parts).float()


def _run_stage(
    run: TinyRun,
    name: str,
    settings: Any,
    parameters: dict[str, torch.nn.Parameter],
    losses: Callable[[int], dict[str, Tensor]],
    evaluate: Callable[[], dict[str, float]],
    stored: RunState | None,
) -> None:
    frozen = with_prefix("weights", {key: tensor for key, tensor in _own_weights(run.model).items() if key not in parameters})

    def save(progress: Progress, tensors: dict[str, Tensor]) -> None:
        own = {f"weights.{key.removeprefix('model.')}": tensor for key, tensor in tensors.items() if key.startswith("model.")}
        rest = {key: tensor for key, tensor in tensors.items() if not key.startswith("model.")}
        facts = {"stage": name, "progress": progress.as_mapping(), "recipe": asdict(run.recipe)}
        save_state(run.out / STATE_FILE, RunState(frozen | own | rest, facts))

    for key, parameter in run.model.named_parameters():
        parameter.requires_grad_(key in parameters)
    progress = _stored_progress(stored)
    hooks = Hooks(losses, evaluate, save, run.recipe.save_seconds)
    tensors = stored.tensors if stored and progress and progress.step else None
    train_stage(settings, parameters, hooks, run.metrics, run.recipe.seed, tensors, progress)


def _own_weights(model: LaWAM) -> dict[str, Tensor]:
    """Everything but the third-party encoder."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("lam.vision_encoder.")}


def _stored_progress(stored: RunState | None) -> Progress | None:
    if stored is None:
        return None
    values = stored.facts["progress"]
    return Progress(int(values["step"]), int(values["planned"]), float(values["seconds"]))


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
        training={"recipe": "tiny", "seed": run.recipe.seed, "task": run.contract.task.name, "episodes": run.train.demonstrations.episodes},
    )
