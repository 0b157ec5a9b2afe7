"""``lawam bench seam``: jumps and jerk where one chunk takes over from another, next to other ways to do it."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, UserMistake
from lawam_ros.contract.load import Contract, load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.chunk_streams import (
    OTHERS,
    RecordedChunk,
    Stream,
    made_up_chunks,
    peak_jerks,
    played_by,
    played_by_executor,
    recorded_chunks,
)
from lawam_ros.control.rehearsal import Rehearsal

OWN = "executor"
JUMP_MARK = 1e-9
BELOW_NAIVE, BELOW_BEST_OTHER = 0.9, 0.5
_DESCRIPTION = """\
One series of chunks, made up (each some millimetres off, as policies are) or recorded, is followed by the executor (plan, inverse
kinematics, limits) and by others: naive (the newest chunk at once), linear (the same, straight from point to point), ACT's temporal
ensemble, and the official ensembles of RoboTwin and towel folding. The others are aligned in time and, but for linear, run the executor's
own spline inside a chunk.
Jumps: difference of position, velocity and acceleration of the two courses at the moment of the change, worst seam. Jerk: third
difference of the poses sent at the tick rate, worst of the run.
Marks: jumps zero up to rounding; jerk 90 % below naive and 50 % below the best of the others.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "seam",
        help="jumps and jerk where chunks meet",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--chunks", type=Path, metavar="FILE", help="recorded ones, .npz with stamps_s (K,), times_s (N,), values (K, N, 8)"
    )
    parser.add_argument("--robot", default="franka_panda", help="robot file (default: %(default)s)")
    parser.add_argument("--delays", default="0,50,100,150,200,300", metavar="MS,MS", help="from observation to use (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=12.0, help="of motion (default: %(default)s)")
    parser.add_argument("--period", type=float, default=0.4, metavar="S", help="between made-up chunks (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of made-up chunks (default: %(default)s)")
    parser.add_argument("--require", action="store_true", help="exit code 1 where a mark is missed")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 1 with ``--require`` where a mark is missed. Raises UserMistake for numbers that cannot be."""
    from tqdm import tqdm

    contract = load_contract("franka_pick_place", args.robot, [f"task.robots=[{args.robot}]"])
    if len(contract.robot.arms) != 1:
        raise UserMistake(f"--robot: expected a robot with one arm, {args.robot} has {len(contract.robot.arms)}")
    delays = _delays(args.delays)
    if not 1.0 <= args.seconds <= 90.0 or not 0.1 <= args.period <= 0.6 or args.seed < 0:
        raise UserMistake("expected --seconds from 1 to 90, --period from 0.1 to 0.6 and --seed not below 0")
    urdf = (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")
    if args.chunks is None:
        start = Rehearsal(contract, urdf).poses[contract.robot.arms[0].name]
        chunks = made_up_chunks(start, args.seconds, args.period, contract, args.seed)
    else:
        chunks = [chunk for chunk in recorded_chunks(args.chunks) if chunk.stamp_s < args.seconds]
        if not chunks:
            raise UserMistake(f"--chunks {args.chunks}: expected a chunk within --seconds {args.seconds:g}, got none")
        args.seconds = min(args.seconds, chunks[-1].stamp_s + args.period)
    results = [measured(contract, urdf, chunks, delay, args.seconds) for delay in tqdm(delays, leave=False)]
    marks = marks_of(results)
    report = {
        "robot": args.robot,
        "source": str(args.chunks or "made up"),
        "seed": args.seed,
        "chunks": len(chunks),
        "tick_hz": contract.robot.tick_hz,
    }
    report |= {"results": results, "marks": marks}
    print(as_text(results, marks))
    if args.json:
        print(json.dumps(report))
    return EXIT_CRITERION_MISSED if args.require and not all(mark["met"] for mark in marks) else EXIT_DONE


def _delays(text: str) -> list[float]:
    try:
        delays = [float(part) for part in text.split(",")]
    except ValueError:
        delays = []
    if not delays or not all(0.0 <= delay <= 500.0 for delay in delays):
        raise UserMistake(f"--delays: expected milliseconds from 0 to 500 such as 0,150,300, got {text!r}")
    return delays


def measured(contract: Contract, urdf: str, chunks: Sequence[RecordedChunk], delay_ms: float, seconds: float) -> dict[str, Any]:
    """Worst jumps and peak jerks of every way at one delay."""
    dt_s = contract.robot.tick_period_ns * 1e-9
    own = played_by_executor(contract, urdf, chunks, delay_ms * 1e-3, seconds)
    times = np.array([delay_ms * 1e-3 + k * dt_s for k in range(round((seconds - delay_ms * 1e-3) / dt_s))])
    streams = {OWN: own} | {way: played_by(way, contract.robot.arms[0], chunks, delay_ms * 1e-3, times) for way in OTHERS}
    return {"delay_ms": delay_ms, "ways": {name: _figures(stream, dt_s) for name, stream in streams.items()}}


def _figures(stream: Stream, dt_s: float) -> dict[str, Any]:
    jumps = [asdict(jump) for jump in stream.jumps]
    linear, angular = peak_jerks(stream, dt_s)
    worst = {f"worst_jump_{name}": max((jump[name] for jump in jumps), default=0.0) for name in (jumps[0] if jumps else {})}
    return worst | {"seams": len(jumps), "refused": stream.refused, "peak_jerk_m_s3": linear, "peak_angular_jerk_rad_s3": angular}


def marks_of(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was to be reached, per delay, and whether it was."""
    marks = []
    for result in results:
        own, others = result["ways"][OWN], {name: result["ways"][name] for name in OTHERS}
        jump = max(value for name, value in own.items() if name.startswith("worst_jump"))
        marks.append(_mark(f"{result['delay_ms']:g} ms: largest jump of the executor", jump, JUMP_MARK))
        for name in ("peak_jerk_m_s3", "peak_angular_jerk_rad_s3"):
            best = min(other[name] for other in others.values())
            marks.append(
                _mark(f"{result['delay_ms']:g} ms: {name} over naive", own[name] / max(others["naive"][name], 1e-9), 1.0 - BELOW_NAIVE)
            )
            marks.append(
                _mark(f"{result['delay_ms']:g} ms: {name} over the best other", own[name] / max(best, 1e-9), 1.0 - BELOW_BEST_OTHER)
            )
    return marks


def _mark(what: str, value: float, limit: float) -> dict[str, Any]:
    return {"mark": what, "value": value, "limit": limit, "met": value <= limit}


def as_text(results: list[dict[str, Any]], marks: list[dict[str, Any]]) -> str:
    """The report as a table for people."""
    head = " ".join(f"{unit:>9}" for unit in ("jump m", "m/s", "m/s2", "rad", "rad/s", "rad/s2"))
    lines = [f"{'delay':>6}  {'':<18} {head} {'jerk m/s3':>10} {'rad/s3':>10}"]
    names = ("position_m", "velocity_m_s", "acceleration_m_s2", "angle_rad", "angular_velocity_rad_s", "angular_acceleration_rad_s2")
    for result in results:
        for way, found in result["ways"].items():
            jumps = " ".join(f"{found[f'worst_jump_{name}']:>9.2g}" for name in names)
            jerks = f"{found['peak_jerk_m_s3']:>10.4g} {found['peak_angular_jerk_rad_s3']:>10.4g}"
            lines.append(f"{result['delay_ms']:>3g} ms  {way:<18} {jumps} {jerks}")
    refused = sum(result["ways"][OWN]["refused"] for result in results)
    if refused:
        lines.append(f"the executor refused {refused} chunks that began too far from where it was; the others followed them")
    missed = [mark for mark in marks if not mark["met"]]
    lines += [f"MISSED: {mark['mark']}: {mark['value']:.3g} (limit {mark['limit']:g})" for mark in missed]
    return "\n".join([*lines, f"{len(marks) - len(missed)} of {len(marks)} marks met"])
