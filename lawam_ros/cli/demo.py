"""``lawam demo``: a task in simulation through the real ROS graph, with video, table and JSON."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawam_ros import bringup
from lawam_ros.cli.run_summary import figures_of, print_table, slowness, summarise
from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, EnvironmentLacks, UserMistake
from lawam_ros.contract.viewers import PORTS, VIEWERS, viewer_address

if TYPE_CHECKING:
    from lawam_ros.cli.episodes import EpisodeResult
    from lawam_ros.nodes.run_client import RunClient


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="run a task in simulation and film it",
        description="Starts the nodes of a task as separate processes, runs episodes from fixed seeds, films them and prints a summary.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--task", default="franka_pick_place", help="task, a file in config/tasks")
    parser.add_argument("--episodes", type=int, default=3, help="number of episodes")
    parser.add_argument("--seed", type=int, default=12000, help="seed of the first episode; episode k uses seed + k")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for the videos")
    parser.add_argument("--no-video", action="store_true", help="do not film")
    parser.add_argument("--robot", default="", help="robot, a file in config/robots; default: the task's first")
    parser.add_argument(
        "--checkpoint",
        default="",
        help="checkpoint folder, shipped name, server (ws://host:port), or recorded:<dataset>#<episode>; default: the task's",
    )
    parser.add_argument("--instruction", default="", help="sentence for the policy; default: the task's")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="device of the model")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="contract override, e.g. world.cube_size_m=0.05")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="time added to every chunk, to try slow policies")
    parser.add_argument("--domain", type=int, default=None, help="ROS domain; default: a free one of its own")
    parser.add_argument(
        "--viewer", default="none", choices=("none", *VIEWERS), help="serve the view of the run to Foxglove or as a Rerun page"
    )
    add_record_argument(parser)
    parser.add_argument("--require", type=float, default=None, metavar="FRACTION", help="exit 1 when fewer episodes succeed")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.episodes < 1:
        raise UserMistake(f"--episodes: expected at least 1, got {args.episodes}")
    if args.seed < 0:
        raise UserMistake(f"--seed: expected a whole number from 0, got {args.seed}")
    if not 0 <= args.delay_ms <= 30000:
        raise UserMistake(f"--delay-ms: expected 0 to 30000, got {args.delay_ms:g}")
    if args.domain is not None and not 0 <= args.domain <= 232:
        raise UserMistake(f"--domain: expected 0 to 232, got {args.domain}")
    if args.require is not None and not 0 <= args.require <= 1:
        raise UserMistake(f"--require: expected a fraction from 0 to 1, got {args.require:g}")
    given = {"robot": args.robot, "checkpoint": args.checkpoint, "instruction": args.instruction}
    values = bringup.defaults(args.task) | {name: text for name, text in given.items() if text}
    values |= {"device": args.device, "seed": str(args.seed), "set": ";".join(args.set), **record_values(args.record)}
    values["viewer"] = args.viewer
    bringup.nodes_for(args.task, values)
    check_before_start(values["checkpoint"], None if args.no_video else args.out)
    summary = run_task(args, values)
    print_table(summary, slowness(summary, bringup.contract_for(args.task, values)))
    if args.json:
        print(json.dumps(summary))
    missed = args.require is not None and summary["successes"] < args.require * summary["episodes"]
    return EXIT_CRITERION_MISSED if missed else EXIT_DONE


def add_record_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", type=Path, default=None, metavar="BAG", help="record the run into this folder, which must not exist")


def record_values(bag: Path | None) -> dict[str, str]:
    """Launch arguments of ``--record``. Raises UserMistake where the folder exists."""
    if bag is not None and bag.exists():
        raise UserMistake(f"--record {bag}: exists already; choose another folder")
    return {} if bag is None else {"record": "true", "bag": str(bag.expanduser().resolve())}


def tell_recording(client: "RunClient") -> None:
    """Where the recording is, and why it is not whole when it is not."""
    if client.recording_to:
        print(f"recording          {client.recording_to}", *([f"({client.recording_problem})"] if client.recording_problem else []))


def check_ros() -> None:
    """Raises EnvironmentLacks where there is no ROS."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise EnvironmentLacks(f"rclpy does not import ({error}); run 'make setup', or source your ROS 2 installation first") from error


def check_before_start(checkpoint: str, out: Path | None, needs_ros: bool = True) -> None:
    """What can be refused without starting anything: ROS, the renderer, the checkpoint's folder, the folder for videos."""
    if needs_ros:
        check_ros()
    from lawam_ros.policies.choose import check_checkpoint
    from lawam_ros.sim.renderer import choose_renderer

    choose_renderer()
    check_checkpoint(checkpoint)
    if out is not None:
        make_folder(out, "choose another folder or --no-video")


def make_folder(out: Path, advice: str) -> None:
    """The folder of ``--out``. Raises UserMistake, with the advice, where it cannot be made or written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserMistake(f"--out {out}: cannot be created ({error.strerror}); {advice}") from error
    if not os.access(out, os.W_OK):
        raise UserMistake(f"--out {out}: not writable; {advice}")


def run_task(args: argparse.Namespace, values: dict[str, str]) -> dict[str, Any]:
    """Start the graph, run the episodes, stop the graph; the summary as plain values."""
    from lawam_ros.cli.episodes import run_episode
    from lawam_ros.cli.film import Film
    from lawam_ros.cli.simulated_run import simulated_run
    from lawam_ros.nodes.managed import DIAGNOSTICS_S

    line = ProgressLine()
    results: list[EpisodeResult] = []
    films: list[str] = []
    with simulated_run(args.task, values, args.delay_ms * 1e-3, args.domain, line.show) as run:
        if values["viewer"] != "none":
            line.end(f"watch at {viewer_address(values['viewer'], '127.0.0.1', PORTS[values['viewer']])}")
        for k in range(args.episodes):
            seed = args.seed + k
            with Film(None if args.no_video else args.out / f"{args.task}_{seed}.mp4", run.client, run.contract, seed) as film:

                def on_progress(elapsed_s: float, seed: int = seed, film: Film = film) -> None:
                    line.show(progress_text(run.client, results, args.episodes, seed, elapsed_s))
                    film.tick()

                results.append(run_episode(run.client, run.group, run.contract, seed, on_progress))
            run.checker.restart()
            films += [str(film.path)] if film.written else []
            line.end(f"episode {k + 1}/{args.episodes}  seed {seed}  {results[-1].reason}  {results[-1].time_s:.1f} s")
        time.sleep(DIAGNOSTICS_S + 0.1)  # the last report of the policy carries the percentiles of the whole run
        tell_recording(run.client)
        return summarise(args.task, args.seed, args.delay_ms, results, figures_of(run.client, run.checker.violations), films)


def progress_text(client: "RunClient", results: "Sequence[EpisodeResult]", episodes: int, seed: int, elapsed_s: float) -> str:
    """What is going on, in one line: episode, successes so far, state, chunk latency, control rate."""
    state = client.status.state if client.status else "-"
    chunk_ms = client.policy_report.get("chunk_ms_p50")
    measured = client.measurements
    rate = f"{measured.commands / measured.command_span_s:.0f} Hz" if measured.command_span_s else "-"
    chunk = f"{float(chunk_ms):.0f} ms" if chunk_ms else "-"
    successes = sum(result.success for result in results)
    where = f"episode {len(results) + 1}/{episodes}  seed {seed}  {elapsed_s:5.1f} s  successes {successes}"
    return f"{where}  {state:<7} chunk {chunk}  control {rate}"


class ProgressLine:
    """One line that is written over on a terminal; elsewhere only the finished lines are printed."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._last_s = 0.0

    def show(self, text: str) -> None:
        if self._live and time.monotonic() - self._last_s > 0.2:
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
            self._last_s = time.monotonic()

    def end(self, text: str) -> None:
        sys.stderr.write(f"\r\033[K{text}\n" if self._live else f"{text}\n")
        sys.stderr.flush()
