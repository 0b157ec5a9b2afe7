"""How fast training is, and how much of that time it waits for data."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lawam_ros.training.distributed import Processes
from lawam_ros.training.metrics import MetricsFile
from lawam_ros.training.run_plan import RunPlan
from lawam_ros.training.stage_loop import ReadyStage, parameter_groups
from lawam_ros.training.trainer import Execution, Hooks, train_stage


@dataclass(frozen=True)
class Throughput:
    """Of ``steps`` optimiser steps after the warm-up. peak_memory_gb: of the device, None on a CPU."""

    steps: int
    seconds: float
    samples_per_s: float
    waiting_share: float
    peak_memory_gb: float | None


def measure_throughput(plan: RunPlan, stage: ReadyStage, processes: Processes, warmup_steps: int, steps: int, folder: Path) -> Throughput:
    """Train for a moment with the real loop, without evaluation and states; figures are written below ``folder``."""
    waited: list[float] = []

    def listen(name: str, step: int, values: Mapping[str, float]) -> None:
        waited.append(values.get("waiting", 0.0))

    def loop(count: int, first_seed: int) -> float:
        settings = replace(plan.recipe.settings, steps=count, report_every=count, evaluate_every=10**9)
        hooks = Hooks(stage.module, stage.batch, dict, lambda progress, tensors: None, save_seconds=float("inf"))
        groups = parameter_groups(stage.model, stage.parameters, plan.recipe)
        metrics = MetricsFile(folder / "metrics.csv", listen)
        _finish(processes)
        started = time.monotonic()
        train_stage(settings, groups, hooks, metrics, first_seed, execution=Execution(processes, plan.bf16, plan.workers))
        _finish(processes)
        return time.monotonic() - started

    loop(warmup_steps, plan.seed)
    seconds = loop(steps, plan.seed + 1)
    samples = steps * plan.recipe.settings.accumulate * processes.size * plan.recipe.batch_size
    on_gpu = processes.device.type == "cuda"
    memory_gb = torch.cuda.max_memory_allocated(processes.device) / 2**30 if on_gpu else None
    waiting = [value for value in waited if value > 0.0]
    return Throughput(steps, seconds, samples / seconds, (waiting[-1] * steps if waiting else 0.0) / seconds, memory_gb)


def _finish(processes: Processes) -> None:
    if processes.device.type == "cuda":
        torch.cuda.synchronize(processes.device)
