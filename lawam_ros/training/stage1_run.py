"""``lawam train stage1``: the latent action model on one or several datasets, also on videos without actions."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from lawam_ros.model.lawam import LatentActionModel
from lawam_ros.training.augmentation import world_model_augmentation
from lawam_ros.training.batches import draw_picks, spread_picks, world_model_batch
from lawam_ros.training.distributed import Processes
from lawam_ros.training.freezing import stage1_parameters, train_only
from lawam_ros.training.initial_weights import load_initial, read_initial
from lawam_ros.training.recordings import statistics_of
from lawam_ros.training.run_folder import replace_folder
from lawam_ros.training.run_plan import ReadyData, RunPlan, open_all, ready_data
from lawam_ros.training.schedule import step_generators
from lawam_ros.training.stage1 import WorldModelLosses, views_of, world_model_losses
from lawam_ros.training.stage_loop import ReadyStage, mean_figures, taken_up
from lawam_ros.training.subgoals import subgoal_samples
from lawam_ros.training.trainer import part_name

STAGE = "stage1"


def ready_stage1(plan: RunPlan, processes: Processes) -> ReadyStage:
    """Model, data and losses of a run; its checkpoint is what ``--init`` of stage 2 takes. Raises LawamError in one sentence."""
    recordings, held_out = open_all(plan, plan.data), open_all(plan, plan.validation)
    torch.manual_seed(plan.seed)
    model = nn.ModuleDict({"lam": LatentActionModel(plan.config)})
    lam = model["lam"]
    assert isinstance(lam, LatentActionModel)
    if plan.init:
        report = load_initial(model, read_initial(plan.init))
        print(report.sentence())
    model.to(processes.device)
    stored = taken_up(plan, STAGE, model, processes)
    statistics = plan.statistics or statistics_of(recordings)
    data = ready_data(plan, recordings, held_out, statistics, lam, processes)
    parameters = stage1_parameters(model)
    train_only(model, parameters)
    module = WorldModelLosses(lam, plan.recipe.world_model)

    def evaluate(number: int) -> dict[str, float]:
        model.eval()
        figures = _evaluate(plan, data, lam, processes, number)
        train_only(model, parameters)
        return figures

    def write() -> Path:
        return replace_folder(plan.folder.checkpoint, lambda target: _write(target, plan, lam))

    return ReadyStage(STAGE, model, module, parameters, batch_maker(plan, data), evaluate, write, stored)


def batch_maker(plan: RunPlan, data: ReadyData) -> Any:
    """(step, part) to the arguments of :class:`WorldModelLosses`."""
    recipe, config = plan.recipe, plan.config

    def make(step: int, part: int) -> tuple[Any, ...]:
        generator, noise = step_generators(plan.seed, part_name(STAGE, part), step)
        picks = draw_picks(data.train, recipe.batch_size, generator)
        views, cameras = None, None
        if recipe.augments:
            first = world_model_augmentation(generator)
            views = (first, world_model_augmentation(generator) if recipe.dual_view else first)
            cameras = [int(generator.integers(data.train[number].views[0])) for number, _ in picks]
        batch = world_model_batch(config, data.train, picks, cameras, views)
        return batch, torch.randn((len(picks), 1, config.lam.code_dim), generator=noise)

    return make


@torch.no_grad()
def _evaluate(plan: RunPlan, data: ReadyData, lam: LatentActionModel, processes: Processes, number: int) -> dict[str, float]:
    """Losses without noise on fixed samples, and how much better the predicted future is than standing still."""
    sources = data.validation or data.train
    picks = spread_picks(sources, plan.recipe.eval_batches * plan.recipe.batch_size)
    parts = []
    for first in range(0, len(picks), plan.recipe.batch_size):
        chosen = picks[first : first + plan.recipe.batch_size]
        batch = world_model_batch(plan.config, sources, chosen).to(processes.device)
        with torch.autocast(processes.device.type, dtype=torch.bfloat16, enabled=plan.bf16):
            terms = world_model_losses(lam, batch, plan.recipe.world_model, None)
            features, _ = views_of(lam, batch)
            predicted = lam.decoder(features[:, 0], lam.teacher_latent(features)).float()
        still = (features[:, 0] - features[:, 1]).square().mean().clamp_min(1e-9)
        error = (predicted - features[:, 1]).square().mean() / still
        parts.append({f"validation/{name}": float(value) for name, value in terms.items()} | {"subgoal/error_over_no_motion": float(error)})
        if first == 0 and plan.draw is not None:
            samples = subgoal_samples(sources, chosen, features, predicted, plan.config.lam.grid_hw)
            plan.draw(plan.folder.subgoals / f"{STAGE}_{number:04d}.png", samples)
    return mean_figures(parts)


def _write(target: Path, plan: RunPlan, lam: LatentActionModel) -> None:
    """Weights under the names of official stage-1 checkpoints; third-party encoders are named, not stored."""
    (target / "checkpoints").mkdir(parents=True)
    skip = () if lam.vision_encoder.stored_in_checkpoint else ("vision_encoder.",)
    tensors = {f"lam.{name}": value.detach().cpu().contiguous() for name, value in lam.state_dict().items() if not name.startswith(skip)}
    save_file(tensors, target / "checkpoints" / "model.safetensors")
    facts = {"stage": STAGE, "recipe": plan.recipe_name, "seed": plan.seed, "data": [path.name for path in plan.data]}
    (target / "stage1.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
