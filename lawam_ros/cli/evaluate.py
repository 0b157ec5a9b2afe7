"""``lawam eval``: how often a policy does a task, on seeds it has never seen; with ``--bag`` how near it comes to a recording."""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawam_ros import bringup
from lawam_ros.cli.demo import (
    ProgressLine,
    add_record_argument,
    check_before_start,
    progress_text,
    record_values,
    tell_recording,
)
from lawam_ros.cli.episode_table import EpisodeTable
from lawam_ros.cli.given_options import defaults_of, given_options
from lawam_ros.cli.run_figures import RunFigures, percentile, reaction_ms
from lawam_ros.cli.run_summary import figures_of, print_table, slowness, summarise
from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, LawamError, UserMistake

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lawam_ros.cli.direct_episodes import DirectMeasurements
    from lawam_ros.cli.episodes import EpisodeResult

HELD_OUT_SEED = 10_000
FILMED = 3
DESCRIPTION = """\
Runs episodes from held-out seeds and counts successes, with a 95 % interval. Through the ROS graph in lock step (default) or in real time,
or direct, in one process without ROS; lock step and direct give the same commands for the same seed. Writes each episode to episodes.csv
as it ends, films the first three and draws a sheet of the failures.

With --bag instead, open loop: shows the policy the observations of a recording, of any recorder, and compares each chunk with what the arms
were told next, or did where no commands were recorded. Needs neither simulator nor ROS. It does not tell how a policy mends its own errors.
"""
_DEFAULT_TASK = "franka_pick_place"
_SIMULATION_ONLY = (
    "episodes",
    "through",
    "clock",
    "latency_ms",
    "delay_ms",
    "no_rtc",
    "perturb",
    "jobs",
    "no_video",
    "domain",
    "record",
)
"""What has no meaning with --bag."""
_BAG_ONLY = ("remap", "stride")
_ROS_ONLY = ("clock", "domain", "record")


@dataclass
class Evaluation:
    """What came of the episodes. table: where each is written as it ends. last_frames: seed -> primary picture at the end of a failure."""

    table: EpisodeTable
    results: "list[EpisodeResult]" = field(default_factory=list)
    films: list[str] = field(default_factory=list)
    last_frames: "dict[int, NDArray[np.uint8]]" = field(default_factory=dict)
    figures: RunFigures | None = None


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="measure how often a policy succeeds",
        description=DESCRIPTION,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--task", default="", help=f"task, a file in config/tasks; default: {_DEFAULT_TASK}, or what --bag tells")
    parser.add_argument("--episodes", type=int, default=20, help="number of episodes")
    parser.add_argument(
        "--seed", type=int, default=HELD_OUT_SEED, help="seed of the first episode; episode k uses seed + k; of the noise with --bag"
    )
    parser.add_argument("--robot", default="", help="robot, a file in config/robots; default: the task's first")
    parser.add_argument("--checkpoint", default="", help="checkpoint folder, shipped name, hub name; default: the task's")
    parser.add_argument("--instruction", default="", help="sentence for the policy; default: the task's")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="device of the model")
    parser.add_argument("--through", default="ros", choices=("ros", "direct"), help="the ROS graph, or one process without ROS")
    parser.add_argument("--clock", default="lockstep", choices=("lockstep", "steady"), help="of the ROS graph")
    parser.add_argument("--latency-ms", type=float, default=100.0, help="in stepped time: from an observation to the use of its chunk")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="time added to every chunk, to try slow policies")
    parser.add_argument("--no-rtc", action="store_true", help="without real-time chunking: chunks do not continue the last one")
    parser.add_argument(
        "--perturb", default="", metavar="NAMES", help="what changes per episode: colour, light, camera, distractors, start, size"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="contract override, e.g. world.cube_size_m=0.05")
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time, direct only")
    parser.add_argument(
        "--out", type=Path, default=Path("out/eval"), help="folder for table, videos and the sheet of failures, or the plots of --bag"
    )
    parser.add_argument("--no-video", action="store_true", help="do not film")
    parser.add_argument("--domain", type=int, default=None, help="ROS domain; default: a free one of its own")
    add_record_argument(parser)
    parser.add_argument(
        "--require",
        type=float,
        default=None,
        metavar="FRACTION",
        help="exit 1 when fewer episodes succeed; with --bag, when errors of position are not smaller by this share than those of staying",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    open_loop = parser.add_argument_group("open loop")
    open_loop.add_argument("--bag", type=Path, default=None, metavar="BAG", help="folder of rosbag2, or one of its .mcap or .db3 files")
    open_loop.add_argument(
        "--remap", action="append", default=[], metavar="THEIRS:=OURS", help="a topic that the bag calls otherwise than the robot file"
    )
    open_loop.add_argument(
        "--stride", type=int, default=5, metavar="N", help="look at every N-th frame, of which there are action_hz a second"
    )
    parts = {"simulation": _SIMULATION_ONLY, "open_loop": _BAG_ONLY, "ros": _ROS_ONLY, "stepped": ("latency_ms",)}
    parser.set_defaults(run=run, **{part: defaults_of(parser, names) for part, names in parts.items()})


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 below --require. Raises UserMistake, and EnvironmentLacks without ROS or a renderer."""
    _check(args)
    if args.bag is not None:
        from lawam_ros.cli.evaluate_bag import evaluate_bag

        return evaluate_bag(args)
    args.task = args.task or _DEFAULT_TASK
    overrides = [*args.set, *([f"world.perturb=[{args.perturb}]"] if args.perturb else [])]
    given = {"robot": args.robot, "checkpoint": args.checkpoint, "instruction": args.instruction}
    values = bringup.defaults(args.task) | {name: text for name, text in given.items() if text}
    values |= {"device": args.device, "seed": str(args.seed), "set": ";".join(overrides), "view": "false"}
    values |= record_values(args.record)
    values |= {
        "rtc": "false" if args.no_rtc else "true",
        "clock": args.clock,
        "latency_s": f"{(args.latency_ms + args.delay_ms) * 1e-3:.6f}",
    }
    bringup.nodes_for(args.task, values)
    check_before_start(values["checkpoint"], args.out, needs_ros=args.through == "ros")
    from lawam_ros.sim.scenes import parameters_of  # imports MuJoCo, so after the choice of the renderer

    parameters_of(bringup.contract_for(args.task, values))
    evaluation = Evaluation(EpisodeTable(args.out))
    try:
        _through_ros(args, values, evaluation) if args.through == "ros" else _direct(args, values, evaluation)
    except LawamError:
        if evaluation.results:
            print(f"broke off after {len(evaluation.results)} of {args.episodes} episodes; see {evaluation.table.path}", file=sys.stderr)
        raise
    assert evaluation.figures is not None
    summary = summarise(args.task, args.seed, args.delay_ms, evaluation.results, evaluation.figures, evaluation.films)
    summary |= {"through": args.through, "clock": args.clock if args.through == "ros" else "stepped", "checkpoint": values["checkpoint"]}
    summary |= {"perturb": args.perturb, "failures_sheet": _draw_failures(args.out, evaluation)}
    print_table(summary, slowness(summary, bringup.contract_for(args.task, values)) if summary["clock"] == "steady" else "")
    if summary["failures_sheet"]:
        print(f"failures           {summary['failures_sheet']}")
    if args.json:
        print(json.dumps(summary))
    missed = args.require is not None and summary["successes"] < args.require * summary["episodes"]
    return EXIT_CRITERION_MISSED if missed else EXIT_DONE


def _check(args: argparse.Namespace) -> None:
    if args.bag is not None and (given := given_options(args, args.simulation)):
        raise UserMistake(f"--bag: nothing is simulated; leave out {given}")
    if args.bag is None and (given := given_options(args, args.open_loop)):
        raise UserMistake(f"{given}: expected a recording, got none; name it with --bag, or leave that out")
    if args.through == "direct" and (given := given_options(args, args.ros)):
        raise UserMistake(f"--through direct runs in stepped time and without ROS; leave out {given}, or use --through ros")
    if args.clock == "steady" and (given := given_options(args, args.stepped)):
        raise UserMistake(f"--clock steady takes the time that the policy takes; leave out {given}, or add to it with --delay-ms")
    bounds = (("--episodes", args.episodes, 1), ("--seed", args.seed, 0), ("--jobs", args.jobs, 1), ("--stride", args.stride, 1))
    for name, value, low in bounds:
        if value < low:
            raise UserMistake(f"{name}: expected at least {low}, got {value}")
    for name, value in (("--delay-ms", args.delay_ms), ("--latency-ms", args.latency_ms)):
        if not 0 <= value <= 2500:
            raise UserMistake(f"{name}: expected 0 to 2500, got {value:g}")
    if args.require is not None and not 0 <= args.require <= 1:
        raise UserMistake(f"--require: expected a fraction from 0 to 1, got {args.require:g}")
    if args.domain is not None and not 0 <= args.domain <= 232:
        raise UserMistake(f"--domain: expected 0 to 232, got {args.domain}")
    if args.through == "ros" and args.jobs > 1:
        raise UserMistake("--jobs: the ROS graph runs one episode at a time; use --through direct for several")


def _through_ros(args: argparse.Namespace, values: dict[str, str], evaluation: Evaluation) -> None:
    import time

    from lawam_ros.cli.episodes import run_episode
    from lawam_ros.cli.film import Film
    from lawam_ros.cli.simulated_run import simulated_run
    from lawam_ros.nodes.managed import DIAGNOSTICS_S

    line, lockstep = ProgressLine(), args.clock == "lockstep"
    with simulated_run(args.task, values, 0.0 if lockstep else args.delay_ms * 1e-3, args.domain, line.show) as run:
        for k in range(args.episodes):
            seed = args.seed + k
            path = None if args.no_video or k >= FILMED else args.out / f"{args.task}_{seed}.mp4"
            with Film(path, run.client, run.contract, seed) as film:

                def on_progress(elapsed_s: float, seed: int = seed, film: Film = film) -> None:
                    line.show(progress_text(run.client, evaluation.results, args.episodes, seed, elapsed_s))
                    film.tick()

                result = run_episode(run.client, run.group, run.contract, seed, on_progress, lockstep)
            run.checker.restart()
            _add(evaluation, result, str(film.path) if film.written else None, run.client.frame, line, args.episodes)
        time.sleep(DIAGNOSTICS_S + 0.1)  # the last report of the policy carries the percentiles of the whole run
        tell_recording(run.client)
        evaluation.figures = figures_of(run.client, run.checker.violations)


def _direct(args: argparse.Namespace, values: dict[str, str], evaluation: Evaluation) -> None:
    from lawam_ros.cli.direct_worker import DirectJob, outcomes

    line = ProgressLine()
    seeds = [args.seed + k for k in range(args.episodes)]
    job = DirectJob(args.task, values, args.seed, None if args.no_video else args.out, tuple(seeds[:FILMED]))
    parts: list[DirectMeasurements] = []

    line.show(f"episode 1/{args.episodes}")
    for outcome in outcomes(job, seeds, args.jobs):
        parts.append(outcome.measured)
        _add(evaluation, outcome.result, outcome.film, outcome.last_frame, line, args.episodes)
        line.show(f"episode {len(evaluation.results) + 1}/{args.episodes}")
    chunk_ms = [ms for part in parts for ms in part.chunk_ms]
    uses = [use for part in parts for use in part.uses]
    evaluation.figures = RunFigures(
        chunk_ms_p50=percentile(chunk_ms, 0.5),
        chunk_ms_p99=percentile(chunk_ms, 0.99),
        observation_to_command_ms_p50=percentile([(used - seen) * 1e-6 for seen, used in uses], 0.5),
        control_hz=None,
        reaction_ms_mean=reaction_ms(uses),
        limit_violations=sum(part.violations for part in parts),
    )


def _add(
    evaluation: Evaluation,
    result: "EpisodeResult",
    film: str | None,
    last_frame: "NDArray[np.uint8] | None",
    line: ProgressLine,
    episodes: int,
) -> None:
    evaluation.results.append(result)
    evaluation.table.add(result)
    if film:
        evaluation.films.append(film)
    if not result.success and last_frame is not None:
        evaluation.last_frames[result.seed] = last_frame
    line.end(f"episode {len(evaluation.results)}/{episodes}  seed {result.seed}  {result.reason}  {result.time_s:.1f} s")


def _draw_failures(out: Path, evaluation: Evaluation) -> str | None:
    """Path of a sheet with the last picture of every failure, None when there is none."""
    failures = [result for result in evaluation.results if result.seed in evaluation.last_frames]
    if not failures:
        return None
    import cv2

    from lawam_ros.viz.contact_sheet import contact_sheet

    captions = [
        (f"seed {r.seed}  {r.reason}", ", ".join(name for name, reached in r.stages.items() if reached) or "nothing reached")
        for r in failures
    ]
    sheet = contact_sheet([evaluation.last_frames[r.seed] for r in failures], captions)
    path = out / "failures.png"
    cv2.imwrite(str(path), sheet[..., ::-1])
    return str(path)
