"""``lawam train stage2``: the whole policy on one or several datasets, from scratch or from a checkpoint."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from lawam_ros.contract.errors import UserMistake
from lawam_ros.data.episode_schema import IMAGE_PREFIX
from lawam_ros.model.checkpoint import save_checkpoint
from lawam_ros.model.facts import CheckpointFacts
from lawam_ros.model.lawam import LaWAM, build_model
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.model.sampler import sample_actions
from lawam_ros.training.augmentation import Augmentation, policy_augmentation
from lawam_ros.training.batches import draw_picks, policy_batch, spread_picks
from lawam_ros.training.context_cache import own_sentences, with_context
from lawam_ros.training.distributed import Processes
from lawam_ros.training.flow_draws import draw_flow
from lawam_ros.training.freezing import stage2_parameters, train_only, trains_the_expert_alone
from lawam_ros.training.initial_weights import load_initial, read_initial
from lawam_ros.training.losses import latent_distance
from lawam_ros.training.policy_options import PolicyOptions, policy_options, without_teacher
from lawam_ros.training.recordings import Recording, data_hash, statistics_of
from lawam_ros.training.run_folder import replace_folder
from lawam_ros.training.run_plan import ReadyData, RunPlan, open_all, ready_data
from lawam_ros.training.schedule import step_generators
from lawam_ros.training.sources import Source
from lawam_ros.training.stage2 import PolicyBatch, PolicyLosses
from lawam_ros.training.stage_loop import ReadyStage, mean_figures, taken_up
from lawam_ros.training.subgoals import subgoal_samples
from lawam_ros.training.teacher_latents import with_teacher
from lawam_ros.training.trainer import part_name

STAGE = "stage2"


def ready_stage2(plan: RunPlan, processes: Processes) -> ReadyStage:
    """Model, data and losses of a run. Raises LawamError in one sentence."""
    recordings, held_out = open_all(plan, plan.data), open_all(plan, plan.validation)
    for recording in recordings + held_out:
        if not recording.spec.has_actions:
            raise UserMistake(f"{recording.name}: expected actions for stage 2, the dataset has none; use it for stage 1")
    torch.manual_seed(plan.seed)
    model, options = build_model(plan.config), policy_options(plan.config.training, plan.config.flow.action_horizon)
    if plan.init:
        report = load_initial(model, read_initial(plan.init))
        print(report.sentence())
        options = without_teacher(options) if options.distillation and not report.has_teacher else options
    model.to(processes.device)
    stored = taken_up(plan, STAGE, model, processes)
    statistics = plan.statistics or statistics_of(recordings)
    data = ready_data(plan, recordings, held_out, statistics, model.lam, processes)
    parameters, prompts = stage2_parameters(model, plan.recipe.freeze), PromptEncoder(plan.config)
    if trains_the_expert_alone(parameters):
        options = replace(options, distillation=False)
        if not plan.recipe.augments:
            data = replace(data, train=_with_contexts(plan, data.train, model, prompts, processes))
    elif options.distillation:
        data = replace(data, train=_taught(plan, data.train, model, processes))
    train_only(model, parameters)
    facts = checkpoint_facts(plan, recordings, options)

    def write() -> Path:
        return replace_folder(plan.folder.checkpoint, lambda target: save_checkpoint(target, model, statistics, facts, prompts.tokenizer))

    def evaluate(number: int) -> dict[str, float]:
        model.eval()
        figures = _evaluate(plan, data, model, options, prompts, processes, number)
        train_only(model, parameters)
        if number * plan.recipe.settings.evaluate_every % plan.recipe.save_interval == 0:
            write()
        return figures

    make = batch_maker(plan, data, prompts, options)
    return ReadyStage(STAGE, model, PolicyLosses(model, options), parameters, make, evaluate, write, stored)


def batch_maker(plan: RunPlan, data: ReadyData, prompts: PromptEncoder, options: PolicyOptions) -> Any:
    """(step, part) to the arguments of :class:`PolicyLosses`."""
    recipe, config = plan.recipe, plan.config

    def make(step: int, part: int) -> tuple[Any, ...]:
        generator, noise = step_generators(plan.seed, part_name(STAGE, part), step)
        picks = draw_picks(data.train, recipe.batch_size, generator)
        draws = [policy_augmentation(generator, recipe.crop, recipe.colour) for _ in picks] if recipe.augments else None

        def augment(index: int) -> Augmentation:
            assert draws is not None
            return draws[index]

        batch = policy_batch(config, data.train, picks, prompts, augment=augment if draws else None)
        return batch, draw_flow(config.flow, options, batch.action_mask.any(-1).sum(-1), noise)

    return make


def checkpoint_facts(plan: RunPlan, recordings: list[Recording], options: PolicyOptions) -> CheckpointFacts:
    """What the checkpoint says about itself: the contract of the first dataset, and all of them by name."""
    recording = recordings[0]
    spec, modes = recording.spec, recording.vectors.action_modes
    policy = spec.contract.task.policy if spec.contract else None
    return CheckpointFacts(
        robot=spec.robot,
        embodiment_tag=spec.embodiment_tag,
        embodiment_id=spec.embodiment_id,
        action_hz=recording.dataset.fps,
        horizon_s=plan.config.flow.horizon_s,
        action_offset_steps=policy.action_offset_steps if policy else 0,
        primary_cameras=tuple(key.removeprefix(IMAGE_PREFIX) for key in spec.primary),
        wrist_cameras=tuple(key.removeprefix(IMAGE_PREFIX) for key in spec.wrist),
        state=policy.state if policy else (),
        action=policy.action if policy else (),
        action_mode="q99" if "q99" in modes else "min_max",
        state_mode="q99" if "q99" in recording.vectors.state_modes else "min_max",
        binary_dims=tuple(index for index, mode in enumerate(modes) if mode == "binary"),
        trained_delay_steps=options.max_delay_steps,
        noise_scale=options.noise_scale,
        data_sha256=data_hash(recordings),
        training={
            "recipe": plan.recipe_name,
            "seed": plan.seed,
            "steps": plan.recipe.settings.steps,
            "batch_size": plan.recipe.batch_size,
            "datasets": [r.dataset.root.name for r in recordings],
            "episodes": sum(len(r.dataset) for r in recordings),
            "tasks": sorted({task for r in recordings for task in r.dataset.tasks}),
        },
    )


def _taught(plan: RunPlan, sources: Sequence[Source], model: LaWAM, processes: Processes) -> list[Source]:
    """With the teacher's latent actions, where features are cached: the teacher is frozen, so they never change."""
    folder = plan.folder.teacher if processes.first else None
    with _bar("teacher", sources, processes) as bar:
        return [with_teacher(source, model, processes.device, plan.bf16, folder, bar.update) for source in sources]


def _with_contexts(plan: RunPlan, sources: Sequence[Source], model: LaWAM, prompts: PromptEncoder, processes: Processes) -> list[Source]:
    """With what the action expert reads of every start, in float32: a step from them equals one that works it out."""
    folder = plan.folder.context if processes.first else None
    with _bar("language states", sources, processes) as bar:
        return [
            with_context(source, model, prompts, own_sentences(source), plan.bf16, torch.float32, folder, bar.update) for source in sources
        ]


def _bar(text: str, sources: Sequence[Source], processes: Processes) -> "tqdm[Any]":
    return tqdm(desc=text, unit="start", total=sum(len(source.starts) for source in sources), disable=not processes.first, leave=False)


@torch.no_grad()
def _evaluate(
    plan: RunPlan, data: ReadyData, model: LaWAM, options: PolicyOptions, prompts: PromptEncoder, processes: Processes, number: int
) -> dict[str, float]:
    """Errors of sampled chunks (normalised) and of predicted subgoals on fixed samples, with fixed noise."""
    sources = data.validation or data.train
    picks = spread_picks(sources, plan.recipe.eval_batches * plan.recipe.batch_size)
    noise = torch.Generator().manual_seed(plan.seed)
    parts = []
    for first in range(0, len(picks), plan.recipe.batch_size):
        chosen = picks[first : first + plan.recipe.batch_size]
        batch = policy_batch(plan.config, sources, chosen, prompts).to(processes.device)
        with torch.autocast(processes.device.type, dtype=torch.bfloat16, enabled=plan.bf16):
            figures, features, predicted = _errors(model, options, batch, noise)
        parts.append(figures)
        if first == 0 and plan.draw is not None:
            samples = subgoal_samples(sources, chosen, features, predicted, plan.config.lam.grid_hw)
            plan.draw(plan.folder.subgoals / f"{STAGE}_{number:04d}.png", samples)
    return mean_figures(parts)


def _errors(
    model: LaWAM, options: PolicyOptions, batch: PolicyBatch, generator: torch.Generator
) -> tuple[dict[str, float], Tensor, Tensor]:
    language = model.vlm_forward(batch.prompt, batch.frames)
    features = model.features_of(batch.features, batch.pair)
    predicted = model.foresee(features[:, 0], language.z).float()
    noise = torch.randn(batch.actions.shape, generator=generator).to(features.device)
    with torch.autocast(features.device.type, enabled=False):
        context = model.flow.context(features[:, 0], predicted, language.h_vlm, language.attention_mask)
        hz, ids = batch.action_hz, batch.embodiment_id
        sampled = sample_actions(model.flow, context, noise, hz, ids, batch.state, batch.state_mask, padded=True)
    mask = batch.action_mask
    still = (features[:, 0] - features[:, 1]).square().mean().clamp_min(1e-9)
    perceptual = (predicted - features[:, 1]).square().mean()
    figures = {
        "validation/action_mse": float(((sampled - batch.actions).square() * mask).sum() / mask.sum().clamp_min(1)),
        "validation/perceptual": float(perceptual),
        "subgoal/error_over_no_motion": float(perceptual / still),
    }
    if options.distillation:
        figures["validation/distill"] = float(latent_distance(language.z, model.lam.teacher_latent(features), options.latent_loss))
    return figures, features, predicted
