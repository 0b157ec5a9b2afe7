"""What both stages have in common around the loop: continuing a run, metrics, the first process's writing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from tqdm import tqdm

from lawam_ros.training.distributed import Processes, wait_for_all
from lawam_ros.training.event_files import EventFiles
from lawam_ros.training.metrics import MetricsFile, plot_metrics
from lawam_ros.training.parameter_groups import ParameterGroup, grouped, without_decay_of_norms
from lawam_ros.training.prefetch import Make
from lawam_ros.training.run_folder import Continued, continue_run, state_saver
from lawam_ros.training.run_plan import RunPlan
from lawam_ros.training.run_state import NamedParameters
from lawam_ros.training.stage_recipe import StageRecipe
from lawam_ros.training.trainer import Execution, Hooks, train_stage


def parameter_groups(model: nn.Module, parameters: NamedParameters, recipe: StageRecipe) -> list[ParameterGroup]:
    settings = recipe.settings
    groups = grouped(parameters, settings.peak_rate, recipe.rules, settings.weight_decay)
    return without_decay_of_norms(model, groups) if recipe.spare_norms else groups


def taken_up(plan: RunPlan, stage: str, model: nn.Module, processes: Processes) -> Continued | None:
    """The state of the run in ``plan.out``, loaded into ``model``; the folder exists afterwards."""
    identity = plan.identity(stage, processes.size)
    stored = continue_run(plan.folder, model, identity, plan.recipe.settings.steps, processes.first)
    wait_for_all(processes)
    plan.out.mkdir(parents=True, exist_ok=True)
    if stored and processes.first:
        tqdm.write(f"going on with the run in {plan.out} at step {stored.progress.step}")
    return stored


@dataclass(frozen=True)
class ReadyStage:
    """A stage ready for its first step.

    model: everything whose weights a state keeps, what was trained before already loaded. module: computes the losses. parameters: what is
    trained. batch: makes the arguments of the module. evaluate(number): figures of one evaluation. write(): the checkpoint, its folder.
    """

    name: str
    model: nn.Module
    module: nn.Module
    parameters: NamedParameters
    batch: Make
    evaluate: Callable[[int], dict[str, float]]
    write: Callable[[], Path]
    stored: Continued | None


def run_stage(plan: RunPlan, stage: ReadyStage, processes: Processes) -> Path:
    """Train with states, metrics, events and plots in the run's folder, and return the checkpoint's."""
    folder, settings, stored = plan.folder, plan.recipe.settings, stage.stored
    step = stored.progress.step if stored else 0
    events = EventFiles(folder.events, step) if processes.first else None
    if events is not None and events.note:
        tqdm.write(events.note)
    metrics = MetricsFile(folder.metrics, events.append if events is not None else None)
    if processes.first:
        metrics.start((stage.name,), stage.name, step)
    evaluations = [step // settings.evaluate_every]

    def evaluate() -> dict[str, float]:
        evaluations[0] += 1
        figures = stage.evaluate(evaluations[0])
        plot_metrics(folder.metrics, folder.plot)
        return figures

    save = state_saver(folder, stage.model, stage.parameters, plan.identity(stage.name, processes.size))
    hooks = Hooks(stage.module, stage.batch, evaluate, save, plan.recipe.save_seconds)
    groups = parameter_groups(stage.model, stage.parameters, plan.recipe)
    execution = Execution(processes, plan.bf16, plan.workers)
    tensors: Mapping[str, Tensor] | None = stored.tensors if stored and stored.progress.step else None
    try:
        train_stage(settings, groups, hooks, metrics, plan.seed, tensors, stored.progress if stored else None, execution)
    finally:
        if events is not None:
            events.close()
    if processes.first:
        plot_metrics(folder.metrics, folder.plot)
        stage.write()
    wait_for_all(processes)
    return folder.checkpoint


def mean_figures(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
