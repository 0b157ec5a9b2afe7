"""``lawam demo``: a task in simulation through the real ROS graph, with video, table and JSON."""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lawam_ros import bringup
from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, EnvironmentLacks, UserMistake
from lawam_ros.contract.load import Contract


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
        "--checkpoint", default="", help="checkpoint folder, shipped name, or recorded:<dataset>#<episode>; default: the task's"
    )
    parser.add_argument("--instruction", default="", help="sentence for the policy; default: the task's")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="device of the model")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="contract override, e.g. world.cube_size_m=0.05")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="time added to every chunk, to try slow policies")
    parser.add_argument("--domain", type=int, default=None, help="ROS domain; default: a free one of its own")
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
    given = {"robot": args.robot, "checkpoint": args.checkpoint, "instruction": args.instruction}
    values = bringup.defaults(args.task) | {name: text for name, text in given.items() if text}
    values |= {"device": args.device, "seed": str(args.seed), "set": ";".join(args.set)}
    contract = bringup.contract_for(args.task, values)
    check_before_start(values["checkpoint"])
    summary = run_task(args, contract, values)
    print_table(summary)
    if args.json:
        print(json.dumps(summary))
    missed = args.require is not None and summary["successes"] < args.require * summary["episodes"]
    return EXIT_CRITERION_MISSED if missed else EXIT_DONE


def check_before_start(checkpoint: str) -> None:
    """What can be refused without starting anything: ROS, the renderer, the checkpoint's folder."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise EnvironmentLacks(f"rclpy does not import ({error}); run 'make setup', or source your ROS 2 installation first") from error
    from lawam_ros.policies.choose import RECORDED, find_checkpoint
    from lawam_ros.sim.renderer import choose_renderer

    choose_renderer()
    if not checkpoint.startswith(RECORDED):
        find_checkpoint(checkpoint)


def run_task(args: argparse.Namespace, contract: Contract, values: dict[str, str]) -> dict[str, Any]:
    """Start the graph, run the episodes, stop the graph; the summary of architecture section 6 as plain values."""
    from lawam_ros.cli.domain import ReservedDomain
    from lawam_ros.cli.episodes import run_episode, wait_until_up
    from lawam_ros.cli.film import Film
    from lawam_ros.cli.process_group import ProcessGroup
    from lawam_ros.control.limit_checker import LimitChecker
    from lawam_ros.control.limiter import stacked_limits
    from lawam_ros.nodes.run_client import RunClient

    domain = ReservedDomain(args.domain)
    variables = bringup.environment("sim") | {"ROS_DOMAIN_ID": str(domain.number)}
    os.environ.update(variables)
    nodes = tuple(_for_runner(node, args.delay_ms) for node in bringup.nodes_for(args.task, values))
    checker = LimitChecker(stacked_limits([arm.limits for arm in contract.robot.arms]))
    line = ProgressLine()
    results, films = [], []
    try:
        with ProcessGroup(nodes, values["namespace"], variables) as group:
            client = RunClient(
                contract,
                values["namespace"],
                domain.number,
                lambda c: checker.add(c.stamp_ns, c.positions_rad, c.velocities_rad_s, c.accelerations_rad_s2),
            )
            try:
                wait_until_up(client, group, nodes, line.show)
                client.configure_executor()
                for k in range(args.episodes):
                    seed = args.seed + k
                    film = None if args.no_video else Film(args.out / f"{args.task}_{seed}.mp4", client, contract, seed)

                    def on_progress(elapsed_s: float, k: int = k, seed: int = seed, film: Film | None = film) -> None:
                        line.show(progress_text(client, k, args.episodes, seed, elapsed_s))
                        if film is not None:
                            film.tick()

                    results.append(run_episode(client, group, contract, seed, on_progress))
                    checker.restart()
                    if film is not None:
                        films.append(film.close())
                    line.end(f"episode {k + 1}/{args.episodes}  seed {seed}  {results[-1].reason}  {results[-1].time_s:.1f} s")
                time.sleep(1.1)  # the last diagnostics of the policy carry the percentiles of the whole run
                return summarise(args, results, client, checker.violations, films)
            finally:
                client.close()
    finally:
        domain.release()


def _for_runner(node: bringup.NodeSpec, delay_ms: float) -> bringup.NodeSpec:
    """The same node, with what only a runner changes: it activates the executor itself, and may slow the policy down."""
    extra: dict[str, bringup.Value] = {}
    if node.executable == "chunk_executor":
        extra = {"autostart": False}
    elif node.executable == "policy":
        extra = {"added_delay_s": delay_ms * 1e-3}
    return bringup.NodeSpec(node.executable, {**node.parameters, **extra}, node.respawn)


def summarise(args: argparse.Namespace, results: Sequence[Any], client: Any, violations: int, films: Sequence[str]) -> dict[str, Any]:
    successes = sum(result.success for result in results)
    measured = client.measurements
    report = client.policy_report
    stage_names = sorted({name for result in results for name in result.stages})
    return {
        "task": args.task,
        "seed": args.seed,
        "episodes": len(results),
        "successes": successes,
        "success_interval": list(wilson_interval(successes, len(results))),
        "stages": {name: sum(result.stages.get(name, False) for result in results) for name in stage_names},
        "chunk_ms_p50": _number(report.get("chunk_ms_p50")),
        "chunk_ms_p99": _number(report.get("chunk_ms_p99")),
        "observation_to_command_ms_p50": _median(measured.observation_to_command_ms),
        "control_hz": round(measured.commands / measured.command_span_s, 1) if measured.command_span_s else None,
        "limit_violations": violations,
        "delay_ms": args.delay_ms,
        "reaction_ms_mean": None,
        "episodes_detail": [
            {
                "seed": result.seed,
                "success": result.success,
                "reason": result.reason,
                "time_s": result.time_s,
                "final_error_m": _finite(result.final_error_m),
                "min_tcp_object_distance_m": _finite(result.min_tcp_object_distance_m),
            }
            for result in results
        ],
        "video": list(films),
    }


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % score interval of a success rate, as fractions."""
    z = 1.959964
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, round((centre - spread) / scale, 4)), min(1.0, round((centre + spread) / scale, 4))


def progress_text(client: Any, k: int, episodes: int, seed: int, elapsed_s: float) -> str:
    state = client.status.state if client.status else "?"
    chunk_ms = client.policy_report.get("chunk_ms_p50")
    measured = client.measurements
    rate = f"{measured.commands / measured.command_span_s:.0f} Hz" if measured.command_span_s else "- Hz"
    chunk = f"{float(chunk_ms):.0f} ms" if chunk_ms else "-"
    return f"episode {k + 1}/{episodes}  seed {seed}  {elapsed_s:5.1f} s  {state:<8} chunk {chunk}  control {rate}"


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


def print_table(summary: dict[str, Any]) -> None:
    print(f"\n{'seed':>7}  {'success':<8} {'reason':<14} {'time':>7}  {'error':>8}  {'closest':>8}")
    for row in summary["episodes_detail"]:
        error, closest = (f"{100 * v:.1f} cm" if v is not None else "-" for v in (row["final_error_m"], row["min_tcp_object_distance_m"]))
        print(
            f"{row['seed']:>7}  {'yes' if row['success'] else 'no':<8} {row['reason']:<14} {row['time_s']:>5.1f} s  {error:>8}  {closest:>8}"
        )
    low, high = summary["success_interval"]
    print(f"\nsuccess            {summary['successes']} of {summary['episodes']} (95 % interval {100 * low:.0f} to {100 * high:.0f} %)")
    print(f"stages             {', '.join(f'{name} {count}' for name, count in summary['stages'].items())}")
    print(f"chunk              p50 {_show(summary['chunk_ms_p50'], 'ms')}, p99 {_show(summary['chunk_ms_p99'], 'ms')}")
    print(f"image to command   p50 {_show(summary['observation_to_command_ms_p50'], 'ms')}")
    print(f"control            {_show(summary['control_hz'], 'Hz')}, {summary['limit_violations']} limit violations")
    for path in summary["video"]:
        print(f"video              {path}")


def _show(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.0f} {unit}"


def _number(text: str | None) -> float | None:
    return None if text is None else round(float(text), 2)


def _finite(value: float | None) -> float | None:
    return round(value, 4) if value is not None and math.isfinite(value) else None


def _median(samples: Sequence[float]) -> float | None:
    return round(sorted(samples)[len(samples) // 2], 2) if samples else None
