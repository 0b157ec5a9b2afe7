"""The loop both stages share: steps, reports, evaluation on averaged weights, states on disk, and a plan that keeps to the time given."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lawam_ros.contract.errors import EnvironmentLacks, LawamError
from lawam_ros.training.averaging import WeightAverage
from lawam_ros.training.distributed import Processes, mean_over_processes, shared, wait_for_all
from lawam_ros.training.metrics import MetricsFile
from lawam_ros.training.parameter_groups import ParameterGroup, all_parameters, make_optimiser
from lawam_ros.training.prefetch import Make, Prefetcher
from lawam_ros.training.run_state import NamedParameters, optimiser_tensors, restore_optimiser, with_prefix, without_prefix
from lawam_ros.training.schedule import learning_rate, step_seed

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class StageSettings:
    """How one stage is trained.

    steps: planned length. seconds: time the steps may take; the plan is cut to it, None keeps the plan. peak_rate: of groups that name
    none. warmup_offset: 1 starts the warm-up at a share of the rate, 0 at zero as the official stage 2. decays: whether the rate falls
    along half a cosine after the warm-up or stays. decay: of the weight average, 0 none. accumulate: batches per step and process.
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
    accumulate: int = 1
    warmup_offset: int = 1
    decays: bool = True
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8


@dataclass(frozen=True)
class Progress:
    """Where a stage is: finished steps, planned steps, seconds spent in steps so far, sums of figures since the last report."""

    step: int
    planned: int
    seconds: float
    sums: Mapping[str, float] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        return asdict(self)


def progress_from(values: Mapping[str, Any]) -> Progress:
    return Progress(int(values["step"]), int(values["planned"]), float(values["seconds"]), dict(values.get("sums", {})))


@dataclass(frozen=True)
class Hooks:
    """What the loop calls. module(*batch, step): terms of one batch with ``total``. batch(step, part): its arguments; called from other
    threads, everything random in it comes from generators of the step and the part. evaluate(): figures of the averaged weights.
    save(progress, tensors): keep a state. ``save_seconds``: time between states; one is also kept at the end and when something fails."""

    module: nn.Module
    batch: Make
    evaluate: Callable[[], dict[str, float]]
    save: Callable[[Progress, dict[str, Tensor]], None]
    save_seconds: float


@dataclass(frozen=True)
class Execution:
    """How the steps are computed; results depend on it by rounding only, ``bf16`` aside. workers: threads that make batches."""

    processes: Processes = Processes(0, 1, torch.device("cpu"))
    bf16: bool = False
    workers: int = 0


def train_stage(
    settings: StageSettings,
    groups: Sequence[ParameterGroup],
    hooks: Hooks,
    metrics: MetricsFile,
    seed: int,
    stored: Mapping[str, Tensor] | None = None,
    progress: Progress | None = None,
    execution: Execution = Execution(),
) -> Progress:
    """Train the parameters of ``groups`` in place; at the end they hold the averaged weights.

    ``stored`` and ``progress`` continue a killed run; its losses are those of a run that was not killed. A step consists of
    ``accumulate`` times as many batches (parts) as there are processes, and the parts are the same however they are shared out. Raises
    LawamError if a loss is not finite or memory does not suffice; the state is kept before.
    """
    return _Loop(settings, groups, hooks, metrics, seed, execution).run(stored, progress or Progress(0, settings.steps, 0.0))


class _Loop:
    def __init__(
        self,
        settings: StageSettings,
        groups: Sequence[ParameterGroup],
        hooks: Hooks,
        metrics: MetricsFile,
        seed: int,
        execution: Execution,
    ) -> None:
        self.settings, self.groups, self.hooks, self.metrics, self.seed = settings, groups, hooks, metrics, seed
        self.execution, self.processes = execution, execution.processes
        self.parameters = all_parameters(groups)
        self.optimiser = make_optimiser(groups, settings.betas, settings.eps)
        self.average = WeightAverage(self.parameters, settings.decay) if settings.decay else None
        self.module = shared(hooks.module, self.processes)
        self.saved_step = -1

    def run(self, stored: Mapping[str, Tensor] | None, progress: Progress) -> Progress:
        if stored:
            restore_optimiser(self.optimiser, self.parameters, stored)
            if self.average is not None:
                self.average.restore(without_prefix("average", stored))
        settings, first = self.settings, self.processes.first
        parts = tuple(micro * self.processes.size + self.processes.rank for micro in range(settings.accumulate))
        last_save = time.monotonic()
        self.saved_step = progress.step
        with (
            Prefetcher(self.hooks.batch, parts, progress.step, self.execution.workers) as batches,
            tqdm(total=progress.planned, initial=progress.step, desc=settings.name, unit="step", mininterval=2.0, disable=not first) as bar,
        ):
            waited_before = 0.0
            progress = self._reported(progress, bar)  # what a run that ended between step and report owes
            while progress.step < progress.planned:
                started = time.monotonic()
                with self._guarded(progress):
                    values = self._step(progress, batches, parts)
                if self.average is not None:
                    self.average.update(progress.step)
                values["waiting"] = batches.waited_s - waited_before
                waited_before = batches.waited_s
                spent = time.monotonic() - started
                progress = Progress(progress.step + 1, progress.planned, progress.seconds + spent, _added(progress.sums, values))
                bar.update()
                progress = self._reported(progress, bar)
                with self._guarded(progress):
                    if progress.step % settings.evaluate_every == 0 or progress.step == progress.planned:
                        self._evaluate(progress)
                if time.monotonic() - last_save > self.hooks.save_seconds:
                    self._save(progress)
                    last_save = time.monotonic()
        self._keep(progress)
        if self.average is not None:
            self.average.copy_to_parameters()
        return progress

    def _step(self, progress: Progress, batches: Prefetcher, parts: tuple[int, ...]) -> dict[str, float]:
        """One optimiser step. Nothing but the update at the end changes weights."""
        for group, entry in zip(self.groups, self.optimiser.param_groups, strict=True):
            entry["lr"] = group_rate(self.settings, group, progress)
        self.optimiser.zero_grad(set_to_none=True)
        values: dict[str, float] = {}
        for index, part in enumerate(parts):
            terms = self._backward(batches.next(), part, progress.step, last=index == len(parts) - 1)
            values = _added(values, {name: value / len(parts) for name, value in terms.items()})
        self._check_reached()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.gradient_clip)
        values = mean_over_processes(values, self.processes) | {"gradient": float(norm)}
        if not all(map(math.isfinite, values.values())):
            raise LawamError(
                f"{self.settings.name}: expected finite losses at step {progress.step}, got {values}; lower the learning rate of the recipe"
            )
        self.optimiser.step()
        return values

    @contextmanager
    def _guarded(self, progress: Progress) -> Iterator[None]:
        """Keep the state of ``progress`` before a failure inside the block ends the run, and tell it in one sentence."""
        name = self.settings.name
        try:
            yield
        except LawamError:
            self._keep(progress)
            raise
        except (torch.OutOfMemoryError, MemoryError) as error:
            self._keep(progress)
            raise out_of_memory(name, progress.step) from error
        except OSError as error:
            self._keep(progress)
            raise EnvironmentLacks(
                f"{name}: a file could not be written at step {progress.step} ({error}); make room on the disk"
            ) from error
        except RuntimeError as error:
            if "allocate memory" not in str(error):
                raise
            self._keep(progress)
            raise out_of_memory(name, progress.step) from error

    def _check_reached(self) -> None:
        """The distributed engine silently stops exchanging gradients when a parameter gets none."""
        missing = [name for name, parameter in self.parameters.items() if parameter.grad is None]
        if missing and self.processes.size > 1:
            raise LawamError(f"{self.settings.name}: expected every trained parameter to get a gradient, {missing[0]} got none; freeze it")

    def _backward(self, batch: tuple[Any, ...], part: int, step: int, last: bool) -> dict[str, float]:
        device = self.processes.device
        arguments = tuple(value.to(device) if value is not None else None for value in batch)
        torch.manual_seed(step_seed(self.seed, part_name(self.settings.name, part), step))  # dropout
        without_exchange = getattr(self.module, "no_sync", nullcontext) if not last else nullcontext
        with without_exchange():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.execution.bf16):
                losses: Losses = self.module(*arguments, step)
            (losses["total"] / self.settings.accumulate).backward()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _reported(self, progress: Progress, bar: "tqdm[Any]") -> Progress:
        if not progress.sums or progress.step % self.settings.report_every:
            return progress
        with self._guarded(progress):
            return self._report(progress, bar)

    def _report(self, progress: Progress, bar: "tqdm[Any]") -> Progress:
        seconds = mean_over_processes({"seconds": progress.seconds}, self.processes)["seconds"]
        progress = replanned(self.settings, replace(progress, seconds=seconds))
        bar.total = progress.planned
        figures = {name: total / self.settings.report_every for name, total in progress.sums.items()}
        bar.set_postfix_str(" ".join(f"{name} {value:.4f}" for name, value in figures.items()))
        rates = {group.name: group_rate(self.settings, group, progress) for group in self.groups}
        named = {f"rate/{name}" if len(rates) > 1 else "rate": rate for name, rate in rates.items()}
        if self.processes.first:
            self.metrics.append(self.settings.name, progress.step, progress.seconds, figures | named)
        return replace(progress, sums={})

    def _evaluate(self, progress: Progress) -> None:
        if self.processes.first:
            with self.average.applied() if self.average is not None else nullcontext(), torch.no_grad():
                figures = self.hooks.evaluate()
            self.metrics.append(self.settings.name, progress.step, progress.seconds, figures)
            named = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
            tqdm.write(f"{self.settings.name} {progress.step}/{progress.planned} after {progress.seconds:.0f} s: {named}")
        wait_for_all(self.processes)

    def _save(self, progress: Progress) -> None:
        if self.processes.first:
            average = self.average.values if self.average is not None else {}
            self.hooks.save(progress, _state_tensors(self.parameters, average, self.optimiser))
        self.saved_step = progress.step

    def _keep(self, progress: Progress) -> None:
        if progress.step > self.saved_step:
            self._save(progress)


def part_name(stage: str, part: int) -> str:
    """Salt of the generators of one part of a step; the first part's is the stage itself."""
    return f"{stage}/{part}" if part else stage


def group_rate(settings: StageSettings, group: ParameterGroup, progress: Progress) -> float:
    warmup = settings.warmup_steps if group.warmup_steps is None else group.warmup_steps
    floor = settings.floor_ratio if settings.decays else 1.0
    return learning_rate(progress.step, progress.planned, warmup, group.rate, floor, settings.warmup_offset)


def out_of_memory(stage: str, step: int) -> LawamError:
    return LawamError(
        f"{stage}: the memory of the device does not suffice at step {step}; lower --batch-size (and raise --accumulate) "
        "or use --precision bf16; the run goes on from its last state"
    )


def training_context(bf16: bool) -> torch.autocast:
    """With ``bf16``, matrix products in it on the CPU; norms, softmax and losses stay in float32 precision."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)


def replanned(settings: StageSettings, progress: Progress) -> Progress:
    """Planned steps that fit into the time that is left at the pace so far, never more than the recipe's; all of these without a time."""
    if settings.seconds is None or not progress.step:
        return replace(progress, planned=settings.steps)
    pace = progress.seconds / progress.step
    affordable = progress.step + int(max(0.0, settings.seconds - progress.seconds) / pace)
    return replace(progress, planned=max(progress.step, min(settings.steps, affordable)))


def _state_tensors(parameters: NamedParameters, average: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    own = {name: parameter.detach() for name, parameter in parameters.items()}
    return with_prefix("model", own) | with_prefix("average", average) | optimiser_tensors(optimiser, parameters)


def _added(sums: Mapping[str, float], values: Mapping[str, float]) -> dict[str, float]:
    return dict(sums) | {name: sums.get(name, 0.0) + value for name, value in values.items()}
