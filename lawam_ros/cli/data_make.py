"""``lawam data make``: demonstrations of a scripted expert in simulation, through the limits of the real executor, without ROS."""

import argparse
import json
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.policies.choose import check_checkpoint
from lawam_ros.sim.start_recipe import DONE_ALREADY, NOISE_LEVELS, TAKEN_OVER

if TYPE_CHECKING:
    from lawam_ros.cli.demonstration_recorder import Attempt

VALIDATION_SEED = 9000
HELD_OUT_SEED = 10_000
_ALLOWED_FAILURES = 4
_LONGEST_POLICY_SECONDS = 120.0


@dataclass(frozen=True)
class Recipe:
    """What decides the content of the dataset; plain values, so that a worker process can take it."""

    task: str
    robot: str | None
    overrides: tuple[str, ...]
    noise: str
    checkpoint: str = ""
    policy_s: tuple[float, float] | None = None


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "make",
        help="record demonstrations in simulation",
        description="Records successful episodes of the scripted expert. Episode seeds count up from --seed; failures are counted and "
        "left out. Training uses seeds below 9000, validation 9000 to 9999, the rest is held out for evaluation.",
    )
    parser.add_argument("--task", default="franka_pick_place", help="task file in config/tasks (default: %(default)s)")
    parser.add_argument("--robot", help="robot file in config/robots (default: the task's first)")
    parser.add_argument("--episodes", type=int, default=100, help="successful episodes the dataset shall hold (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first episode (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to create")
    parser.add_argument("--jobs", type=int, default=1, help="processes that simulate at the same time (default: %(default)s)")
    parser.add_argument(
        "--noise",
        choices=NOISE_LEVELS,
        default="recovery",
        help="none: always from the home pose; recovery: also from elsewhere and after the hand was pulled away, with clean labels; "
        "policy: the policy of --checkpoint works for a while, then the expert takes over and is recorded; stuck: for 8 to 15 s, and only "
        "where it has not done the task by then (default: %(default)s)",
    )
    parser.add_argument("--checkpoint", default="", help="of --noise policy and stuck: folder, shipped name or hub name")
    parser.add_argument(
        "--policy-seconds",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="of --noise policy and stuck: how long the policy works, drawn anew each time (default: 0.5 15, with stuck 8 15)",
    )
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. world.cube_size_m=0.05"
    )
    parser.add_argument(
        "--perturb",
        default="",
        metavar="NAMES",
        help="what changes from episode to episode besides the layout, comma-separated: colour, light, camera, distractors, start, size",
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted dataset in --out")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when the dataset holds the episodes asked for, 1 when the expert failed too often, 2 for wrong arguments."""
    _check_numbers(args)
    overrides = [*args.overrides, *([f"world.perturb=[{args.perturb}]"] if args.perturb else [])]
    contract = load_contract(args.task, args.robot, overrides)
    policy_s = (args.policy_seconds[0], args.policy_seconds[1]) if args.policy_seconds else None
    recipe = Recipe(args.task, args.robot, tuple(overrides), args.noise, args.checkpoint, policy_s)
    from lawam_ros.data.episode_schema import episode_schema, modality_mapping
    from lawam_ros.data.lerobot_writer import LeRobotWriter
    from lawam_ros.sim.renderer import choose_renderer

    choose_renderer()
    from lawam_ros.sim.scenes import parameters_of  # imports MuJoCo, so after the choice of the renderer

    parameters_of(contract)
    identity = {
        "task": contract.task.name,
        "robot": contract.robot.name,
        "contract_crc": contract.crc,
        "noise": args.noise,
        "first_seed": args.seed,
        "overrides": overrides,
        **({"checkpoint": args.checkpoint} if args.checkpoint else {}),
        **({"policy_seconds": args.policy_seconds} if args.policy_seconds else {}),
    }
    writer = LeRobotWriter(args.out, episode_schema(contract), modality_mapping(contract.robot), identity, resume=args.resume)
    started = time.monotonic()
    already = writer.episodes
    try:
        failures = _record(writer, recipe, args)
    finally:
        writer.close()
    summary = {
        "task": contract.task.name,
        "robot": contract.robot.name,
        "out": str(args.out),
        "seed": args.seed,
        "episodes": writer.episodes,
        "frames": writer.frames,
        "failures": failures,
        "seconds": round(time.monotonic() - started, 1),
        "seconds_per_episode": round((time.monotonic() - started) / max(writer.episodes - already, 1), 2),
    }
    print(
        f"{args.out}: {writer.episodes} episodes, {writer.frames} frames, {len(failures)} failed attempts left out, "
        f"{summary['seconds']:.0f} s ({summary['seconds_per_episode']:.2f} s per new episode)"
    )
    if args.json:
        print(json.dumps(summary))
    return EXIT_DONE if writer.episodes >= args.episodes else EXIT_CRITERION_MISSED


def _check_numbers(args: argparse.Namespace) -> None:
    for name, value, low in (("--episodes", args.episodes, 1), ("--jobs", args.jobs, 1), ("--seed", args.seed, 0)):
        if value < low:
            raise UserMistake(f"{name}: expected at least {low}, got {value}")
    if (args.noise in TAKEN_OVER) != bool(args.checkpoint):
        raise UserMistake("--noise policy or stuck and --checkpoint belong together: the policy works first, then the expert takes over")
    if args.policy_seconds and not args.checkpoint:
        raise UserMistake("--policy-seconds: expected --noise policy or stuck, in which a policy works first")
    if args.policy_seconds and not 0.0 < args.policy_seconds[0] <= args.policy_seconds[1] <= _LONGEST_POLICY_SECONDS:
        low, high = args.policy_seconds
        raise UserMistake(f"--policy-seconds: expected 0 < LOW <= HIGH <= {_LONGEST_POLICY_SECONDS:g}, got {low:g} {high:g}")
    if args.checkpoint:
        check_checkpoint(args.checkpoint)
    limit = _seed_limit(args.seed)
    if limit is not None and args.seed + args.episodes > limit:
        raise UserMistake(
            f"{args.episodes} episodes from seed {args.seed} on would reach seed {limit}, where the next split begins "
            f"(training below {VALIDATION_SEED}, validation below {HELD_OUT_SEED}); start lower or ask for fewer"
        )


def _seed_limit(seed: int) -> int | None:
    """First seed of the next split, None in the last one."""
    return VALIDATION_SEED if seed < VALIDATION_SEED else HELD_OUT_SEED if seed < HELD_OUT_SEED else None


def _record(writer: Any, recipe: Recipe, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Fill the writer up to ``args.episodes``, in the order of seeds; returns seed and reason of every failed attempt."""
    from tqdm import tqdm

    failures: list[dict[str, Any]] = []
    done_already = 0
    first = max(writer.seeds, default=args.seed - 1) + 1
    allowed = _ALLOWED_FAILURES + args.episodes // 4
    with tqdm(total=args.episodes, initial=writer.episodes, unit="episode", desc="demonstrations") as progress:
        attempts = _attempts(recipe, writer.staging_dir, first, args)
        try:
            while writer.episodes < args.episodes and len(failures) <= allowed:
                attempt = next(attempts, None)
                if attempt is None:
                    break
                if attempt.reason == DONE_ALREADY:
                    done_already += 1
                    progress.set_postfix(failed=len(failures), done_already=done_already)
                    continue
                if attempt.episode is None:
                    failures.append({"seed": attempt.seed, "reason": attempt.reason})
                    progress.write(f"seed {attempt.seed}: {attempt.reason}, left out")
                    continue
                writer.add(attempt.episode)
                progress.update()
                progress.set_postfix(failed=len(failures))
        finally:
            attempts.close()
    return failures


def _attempts(recipe: Recipe, staging: Path, first_seed: int, args: argparse.Namespace) -> "Generator[Attempt, None, None]":
    """Attempts with rising seeds, from this process or from ``--jobs`` others (their results wait until it is their seed's turn)."""
    from lawam_ros.cli.demonstration_recorder import DemonstrationRecorder, record_in_worker, start_worker

    limit = _seed_limit(args.seed)
    seeds = iter(range(first_seed, limit)) if limit is not None else _count_from(first_seed)
    if args.jobs == 1:
        recorder = DemonstrationRecorder(recipe, staging)
        for seed in seeds:
            yield recorder.record(seed)
        return
    pool = ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn"), initializer=start_worker, initargs=(recipe, staging))
    waiting: deque[Future[Attempt]] = deque()
    try:
        for seed in seeds:
            waiting.append(pool.submit(record_in_worker, seed))
            if len(waiting) >= 2 * args.jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _count_from(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1
