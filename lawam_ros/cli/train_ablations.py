"""``lawam train ablations``: the small model trained and tried with pieces left out, a table and a plot of what came of it."""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawam_ros.contract.errors import EXIT_DONE, UserMistake
from lawam_ros.contract.load import Contract, load_contract

if TYPE_CHECKING:
    from lawam_ros.training.ablations import Variant

HELD_OUT_SEED = 10_000
LATENCY_S = 0.1
DESCRIPTION = """\
Trains variants of the small model that differ in one piece, each with several seeds, and tries each on the same held-out episodes in lock
step without ROS. Some variants are the whole model, tried with other subgoals than it foresees. Trainings share --data and its cache. A
killed run goes on: what has its weights or its result is not made again. Ends with OUT/ablations.md, .csv and .png.
"""


@dataclass(frozen=True)
class Cell:
    """One variant with one training seed."""

    variant: "Variant"
    seed: int
    out: Path

    @property
    def weights(self) -> Path:
        return self.out / f"{self.variant.trained_as}_{self.seed}" / "checkpoint"

    @property
    def result(self) -> Path:
        return self.out / "results" / f"{self.variant.name}_{self.seed}.json"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "ablations",
        help="what each piece of LaWAM is worth on a small task",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with LeRobot datasets named train... and val..., all of one task")
    add("--out", type=Path, required=True, help="folder for runs, results, table and plot")
    add("--task", default="franka_pick_place", help="task that is trained and tried (default: %(default)s)")
    add("--model", default="tiny", help="model file in config/models or a path to one (default: %(default)s)")
    add("--minutes", type=float, default=20.0, help="time for the steps of each training (default: %(default)s)")
    add("--seeds", type=int, default=3, help="trainings of each variant (default: %(default)s)")
    add("--episodes", type=int, default=50, help="held-out episodes of each trial, from seed 10000 on (default: %(default)s)")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="trials at the same time (default: all cores)")
    add("--threads", type=int, default=os.cpu_count() or 1, help="threads of a training (default: all cores)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="contract override of the trials, e.g. world.cube_size_m=0.05")
    add("--variants", default="", metavar="NAME[,NAME...]", help="only these (default: all)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0; prints the table last. Raises UserMistake for a wrong call."""
    from lawam_ros.training.ablations import VARIANTS, trained

    for name in ("seeds", "episodes", "jobs", "threads"):
        if getattr(args, name) < 1:
            raise UserMistake(f"--{name}: expected at least 1, got {getattr(args, name)}")
    if args.minutes <= 0:
        raise UserMistake(f"--minutes: expected a positive number, got {args.minutes:g}")
    wanted = [name for name in args.variants.split(",") if name] or [variant.name for variant in VARIANTS]
    unknown = [name for name in wanted if name not in {variant.name for variant in VARIANTS}]
    if unknown:
        raise UserMistake(f"--variants: unknown {', '.join(unknown)}; expected some of {', '.join(v.name for v in VARIANTS)}")
    chosen = tuple(variant for variant in VARIANTS if variant.name in wanted)
    needed = {variant.trained_as for variant in chosen}
    contract = load_contract(args.task, overrides=args.set)
    (args.out / "results").mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        for variant in trained():
            if variant.name in needed:
                _train(args, contract, Cell(variant, seed, args.out))
    _try(args, [Cell(variant, seed, args.out) for variant in chosen for seed in range(args.seeds)])
    print(report(args.out, chosen, args.seeds))
    return EXIT_DONE


def _train(args: argparse.Namespace, contract: Contract, cell: Cell) -> None:
    """Weights of a cell; nothing to do where a finished training says so."""
    done = cell.weights.parent / "finished"
    if done.is_file():
        return
    from lawam_ros.training.process_setup import keep_freed_memory, let_threads_sleep

    let_threads_sleep()
    keep_freed_memory()
    import torch

    from lawam_ros.model.config import load_model_config
    from lawam_ros.training.tiny_recipe import TinyRecipe, with_minutes
    from lawam_ros.training.tiny_run import tiny_data
    from lawam_ros.training.tiny_training import STATE_FILE, train_tiny

    torch.set_num_threads(args.threads)
    print(f"training {cell.variant.name}, seed {cell.seed}: {cell.variant.meaning}")
    config, recipe = load_model_config(args.model), with_minutes(replace(TinyRecipe(), seed=cell.seed), args.minutes)
    config = replace(config, training=dict(config.training) | cell.variant.settings)
    folder = cell.weights.parent
    train_tiny(contract, config, tiny_data(args.data), folder, recipe, (folder / STATE_FILE).is_file(), args.out / "cache")
    done.touch()


def _try(args: argparse.Namespace, cells: list[Cell]) -> None:
    from tqdm import tqdm

    missing = [cell for cell in cells if not cell.result.is_file()]
    seeds = [HELD_OUT_SEED + k for k in range(args.episodes)]
    with tqdm(total=len(missing), desc="trials", unit="trial") as bar:
        if args.jobs == 1 or len(missing) < 2:
            for cell in missing:
                trial(args.task, args.set, cell, seeds)
                bar.update()
            return
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            for _ in pool.map(partial(trial, args.task, args.set, seeds=seeds), missing):
                bar.update()


def trial(task: str, overrides: list[str], cell: Cell, seeds: list[int]) -> None:
    """Episodes of one cell in a process; writes its result when all are done."""
    from lawam_ros.sim.renderer import choose_renderer

    choose_renderer()
    import torch

    from lawam_ros.cli.direct_episodes import DirectRunner
    from lawam_ros.model.engine import Engine
    from lawam_ros.policies.given_subgoals import GivenSubgoals, OfTheEpisodeBefore, present
    from lawam_ros.policies.interface import Policy
    from lawam_ros.policies.lawam import LawamPolicy
    from lawam_ros.training.ablations import OTHERS, PRESENT

    torch.set_num_threads(1)
    contract = load_contract(task, overrides=overrides)
    lawam = LawamPolicy(Engine.load(cell.weights, device="cpu", embodiment_id=contract.robot.embodiment_id), contract)
    others = OfTheEpisodeBefore()
    policy: Policy = {PRESENT: GivenSubgoals(lawam, present), OTHERS: GivenSubgoals(lawam, others)}.get(cell.variant.subgoals, lawam)
    runner = DirectRunner(contract, policy, LATENCY_S, run_seed=cell.seed)
    if cell.variant.subgoals == OTHERS:
        runner.episode(seeds[0] - 1)  # not counted: the first episode needs one before it
    rows = []
    for seed in seeds:
        others.next_episode()
        result = runner.episode(seed)
        rows.append({"seed": seed, "success": result.success, "reason": result.reason, "time_s": result.time_s})
    cell.result.write_text(json.dumps({"variant": cell.variant.name, "seed": cell.seed, "episodes": rows}, indent=1), encoding="utf-8")


def report(out: Path, variants: "tuple[Variant, ...]", seeds: int) -> str:
    """Writes table, figures and plot of the results there are; returns the table."""
    from lawam_ros.cli.run_summary import wilson_interval
    from lawam_ros.viz.success_bars import draw_success_bars

    rows: list[dict[str, Any]] = []
    for variant in variants:
        results = [json.loads(cell.result.read_text("utf-8")) for cell in (Cell(variant, seed, out) for seed in range(seeds))]
        counts = [sum(episode["success"] for episode in result["episodes"]) for result in results]
        trials = [len(result["episodes"]) for result in results]
        low, high = wilson_interval(sum(counts), sum(trials))
        rows.append({"variant": variant, "counts": counts, "trials": trials, "rate": sum(counts) / sum(trials), "low": low, "high": high})
    lines = ["| variant | " + " | ".join(f"seed {seed}" for seed in range(seeds)) + " | all, 95 % interval |"]
    lines.append("|---|" + "---|" * (seeds + 1))
    for row in rows:
        cells = " | ".join(f"{count} of {trials}" for count, trials in zip(row["counts"], row["trials"], strict=True))
        share = f"{100 * row['rate']:.0f} % ({100 * row['low']:.0f} to {100 * row['high']:.0f})"
        lines.append(f"| `{row['variant'].name}`: {row['variant'].meaning} | {cells} | {share} |")
    table = "\n".join(lines)
    (out / "ablations.md").write_text(table + "\n", encoding="utf-8")
    figures = [f"{row['variant'].name},{row['rate']:.4f},{row['low']:.4f},{row['high']:.4f}" for row in rows]
    (out / "ablations.csv").write_text("\n".join(["variant,success,low,high", *figures]) + "\n", encoding="utf-8")
    draw_success_bars(
        out / "ablations.png",
        [(row["variant"].name, row["rate"], (row["low"], row["high"])) for row in rows],
        [[count / trials for count, trials in zip(row["counts"], row["trials"], strict=True)] for row in rows],
    )
    return table
