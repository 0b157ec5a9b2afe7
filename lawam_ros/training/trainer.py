"""The loop both stages share: steps, reports, evaluation on averaged weights, states on disk, and a plan that keeps to the time given."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from lawam_ros.contract.errors import LawamError
from lawam_ros.training.averaging import WeightAverage
from lawam_ros.training.metrics import MetricsFile
from lawam_ros.training.run_state import NamedParameters, optimiser_tensors, restore_optimiser, with_prefix, without_prefix
from lawam_ros.training.schedule import learning_rate, step_seed

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class StageSettings:
    """How one stage is trained.

    steps: planned length. seconds: time the steps may take; the plan is cut to it, None keeps the plan. decay: of the weight average.
    """

    name: str
    steps: int
    seconds: float | None
    peak_rate: float
    floor_ratio: float
    warmup_steps: int
    weight_decay: float
    gradient_clip: float
    decay: float
    report_every: int
    evaluate_every: int


@dataclass(frozen=True)
class Progress:
    """Where a stage is: finished steps, planned steps, seconds spent in steps so far."""

    step: int
    planned: int
    seconds: float

    def as_mapping(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Hooks:
    """What the loop calls. losses(step): terms of one batch with ``total``. evaluate(): figures of the averaged weights. save(progress,
    tensors): keep a state. ``save_seconds``: time between states; a state is also kept at the end."""

    losses: Callable[[int], Losses]
    evaluate: Callable[[], dict[str, float]]
    save: Callable[[Progress, dict[str, Tensor]], None]
    save_seconds: float


def train_stage(
    settings: StageSettings,
    parameters: NamedParameters,
    hooks: Hooks,
    metrics: MetricsFile,
    seed: int,
    stored: Mapping[str, Tensor] | None = None,
    progress: Progress | None = None,
) -> None:
    """Train ``parameters`` in place; at the end they hold the averaged weights.

    ``stored`` and ``progress`` continue a killed run; its losses are those of a run that was not killed. Raises LawamError if a loss is not
    finite.
    """
    progress = progress or Progress(0, settings.steps, 0.0)
    optimiser = make_optimiser(parameters, settings.weight_decay)
    average = WeightAverage(parameters, settings.decay)
    if stored:
        restore_optimiser(optimiser, parameters, stored)
        average.restore(without_prefix("average", stored))
    last_save = time.monotonic()
    sums: dict[str, float] = {}
    with tqdm(total=progress.planned, initial=progress.step, desc=settings.name, unit="step", mininterval=2.0) as bar:
        while progress.step < progress.planned:
            started = time.monotonic()
            torch.manual_seed(step_seed(seed, settings.name, progress.step))  # dropout
            values = _step(settings, parameters, optimiser, hooks.losses(progress.step), progress)
            average.update(progress.step)
            _add(sums, values)
            progress = replace(progress, step=progress.step + 1, seconds=progress.seconds + time.monotonic() - started)
            bar.update()
            if progress.step % settings.report_every == 0:
                progress = _replan(settings, progress)
                bar.total = progress.planned
                figures = {name: total / settings.report_every for name, total in sums.items()}
                sums.clear()
                bar.set_postfix_str(" ".join(f"{name} {value:.4f}" for name, value in figures.items()))
                metrics.append(settings.name, progress.step, progress.seconds, figures | {"rate": _rate(settings, progress)})
            if progress.step % settings.evaluate_every == 0 or progress.step == progress.planned:
                _evaluate(settings, hooks, average, metrics, progress)
            # A state is kept only on report boundaries, where no running sums are pending.
            if time.monotonic() - last_save > hooks.save_seconds and progress.step % settings.report_every == 0:
                hooks.save(progress, _state_tensors(parameters, average, optimiser))
                last_save = time.monotonic()
    average.copy_to_parameters()


def make_optimiser(parameters: NamedParameters, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (0.9, 0.95) with decay on matrices only; norms, biases, queries and tables of one dimension are left alone."""
    matrices = [parameter for parameter in parameters.values() if parameter.ndim >= 2]
    others = [parameter for parameter in parameters.values() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0, betas=(0.9, 0.95), eps=1e-8, fused=True)


def training_context() -> torch.autocast:
    """bf16 matrix products on the CPU; norms, softmax and losses stay in float32 precision."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


def _rate(settings: StageSettings, progress: Progress) -> float:
    return learning_rate(progress.step, progress.planned, settings.warmup_steps, settings.peak_rate, settings.floor_ratio)


def _step(
    settings: StageSettings, parameters: NamedParameters, optimiser: torch.optim.Optimizer, losses: Losses, progress: Progress
) -> dict[str, float]:
    for group in optimiser.param_groups:
        group["lr"] = _rate(settings, progress)
    optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), settings.gradient_clip)
    values = {name: float(value.detach()) for name, value in losses.items()} | {"gradient": float(norm)}
    if not all(map(math.isfinite, values.values())):
        raise LawamError(
            f"{settings.name}: expected finite losses at step {progress.step}, got {values}; lower the learning rate of the recipe"
        )
    optimiser.step()
    return values


def _replan(settings: StageSettings, progress: Progress) -> Progress:
    """Planned steps that fit into the time that is left at the pace so far, never more than the recipe's."""
    if settings.seconds is None:
        return progress
    pace = progress.seconds / progress.step
    affordable = progress.step + int(max(0.0, settings.seconds - progress.seconds) / pace)
    return replace(progress, planned=max(progress.step, min(settings.steps, affordable)))


def _evaluate(settings: StageSettings, hooks: Hooks, average: WeightAverage, metrics: MetricsFile, progress: Progress) -> None:
    with average.applied(), torch.no_grad():
        figures = hooks.evaluate()
    metrics.append(settings.name, progress.step, progress.seconds, figures)
    named = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
    tqdm.write(f"{settings.name} {progress.step}/{progress.planned} after {progress.seconds:.0f} s: {named}")


def _state_tensors(parameters: NamedParameters, average: WeightAverage, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    own = {name: parameter.detach() for name, parameter in parameters.items()}
    return with_prefix("model", own) | with_prefix("average", average.values) | optimiser_tensors(optimiser, parameters)


def _add(sums: dict[str, float], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value
