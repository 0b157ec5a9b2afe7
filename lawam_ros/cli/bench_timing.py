"""``lawam bench timing``: success, smoothness and reaction of each way to follow chunks, as the policy gets slower."""

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lawam_ros import bringup
from lawam_ros.cli.evaluate import HELD_OUT_SEED
from lawam_ros.cli.paired_success import PairedDifference, paired_difference
from lawam_ros.cli.run_figures import reaction_ms
from lawam_ros.cli.run_summary import wilson_interval
from lawam_ros.cli.timing_cells import Cell, CellFolder, TimedEpisode, first_of, mean
from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, UserMistake

if TYPE_CHECKING:
    from lawam_ros.cli.direct_worker import DirectOutcome

STRATEGIES = {
    "rtc": ("true", "replace"),
    "replace": ("false", "replace"),
    "ensemble": ("false", "ensemble"),
    "official_robotwin": ("false", "official_robotwin"),
    "official_towel": ("false", "official_towel"),
}
"""name -> launch argument ``rtc``, ``executor.merge`` of the task."""
PAIRED = ("rtc", 0, 150)
LARGEST_FALL, LOWEST_END = 0.05, -0.10
_MOVING_M_S = 1e-3
_DESCRIPTION = """\
Episodes in stepped time without ROS, as 'lawam eval --through direct': a chunk is used --latency-ms plus the added delay after its
observation. Strategies: rtc (the default: a chunk continues the last one), and without it replace (the newest chunk, aligned in time) and
the three ensembles of docs/motion.md. All use the executor's seams and limits. Then 0 against 150 ms over the same seeds (--paired).
Every episode is kept in --out when it ends: the same command again goes on where it was stopped. Writes table.md and timing.png there.
Marks: with 150 ms the success falls by at most 5 points, the lower end of its 95 % interval is not below -10, no limit is broken.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "timing",
        help="success, jerk and reaction time of slower policies",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--task", default="franka_pick_place", help="task, a file in config/tasks (default: %(default)s)")
    parser.add_argument("--checkpoint", default="", help="checkpoint folder, shipped name, hub name; default: the task's")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="of the model (default: %(default)s)")
    parser.add_argument("--strategies", default=",".join(STRATEGIES), metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--delays", default="0,50,150,300", metavar="MS,MS", help="added to the latency (default: %(default)s)")
    parser.add_argument("--latency-ms", type=int, default=100, help="of the policy itself (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=50, help="per strategy and delay (default: %(default)s)")
    parser.add_argument("--paired", type=int, default=200, help="episodes of rtc at 0 and at 150 ms, 0 for none (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=HELD_OUT_SEED, help="of the first episode; episode k uses seed + k (default: %(default)s)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="contract override, e.g. world.cube_size_m=0.05")
    parser.add_argument("--jobs", type=int, default=1, help="episodes at the same time (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/timing"), help="folder of the results (default: %(default)s)")
    parser.add_argument("--require", action="store_true", help="exit code 1 where a mark is missed")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 1 with ``--require`` where a mark is missed. Raises UserMistake, and EnvironmentLacks without a renderer."""
    from tqdm import tqdm

    from lawam_ros.cli.demo import check_before_start

    strategies, delays = _strategies(args.strategies), _delays(args.delays)
    _check(args)
    values = bringup.defaults(args.task) | ({"checkpoint": args.checkpoint} if args.checkpoint else {})
    values |= {"device": args.device, "seed": str(args.seed), "view": "false", "set": ";".join(args.set)}
    bringup.nodes_for(args.task, values)
    check_before_start(values["checkpoint"], args.out, needs_ros=False)
    folder = CellFolder(args.out, _common(args, values))
    wanted = _wanted(strategies, delays, args)
    missing = {cell: [seed for seed in seeds if seed not in folder.episodes(cell)] for cell, seeds in wanted.items()}
    with tqdm(total=sum(map(len, wanted.values())), initial=sum(map(len, wanted.values())) - sum(map(len, missing.values()))) as bar:
        for cell, seeds in missing.items():
            bar.set_description(cell.name)
            for episode in _played(args, values, cell, seeds):
                folder.add(cell, episode)
                bar.update()
    table = {cell: first_of(folder.episodes(cell), wanted[cell][: args.episodes]) for cell in _cells(strategies, delays)}
    paired = _paired(folder, args)
    report = {**_common(args, values), "cells": [_row(cell, episodes) for cell, episodes in table.items()]}
    report |= {"paired": asdict(paired) if paired else None, "marks": marks_of(report["cells"], paired)}
    text = as_markdown(report)
    (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
    _draw(report["cells"], args.out / "timing.png")
    print(text)
    print(f"\n{args.out / 'table.md'}, {args.out / 'timing.png'}")
    if args.json:
        print(json.dumps(report))
    return EXIT_CRITERION_MISSED if args.require and not all(mark["met"] for mark in report["marks"]) else EXIT_DONE


def _check(args: argparse.Namespace) -> None:
    for name, value, low in (
        ("--episodes", args.episodes, 1),
        ("--paired", args.paired, 0),
        ("--seed", args.seed, 0),
        ("--jobs", args.jobs, 1),
    ):
        if value < low:
            raise UserMistake(f"--{name}: expected at least {low}, got {value}")
    if not 0 <= args.latency_ms <= 2000:
        raise UserMistake(f"--latency-ms: expected 0 to 2000, got {args.latency_ms}")


def _strategies(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(STRATEGIES):
        raise UserMistake(f"--strategies: expected names out of {', '.join(STRATEGIES)}, got {text!r}")
    return names


def _delays(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) <= 2000 for part in parts):
        raise UserMistake(f"--delays: expected whole milliseconds from 0 to 2000 such as 0,150, got {text!r}")
    return [int(part) for part in parts]


def _common(args: argparse.Namespace, values: Mapping[str, str]) -> dict[str, Any]:
    """What all episodes of a folder share, whatever more of them is asked for later."""
    from lawam_ros.policies.provenance import checkpoint_hashes

    return {
        "task": args.task,
        "checkpoint": values["checkpoint"],
        "checkpoint_sha256": checkpoint_hashes(values["checkpoint"]),
        "contract": bringup.contract_for(args.task, values).crc,
        "latency_ms": args.latency_ms,
        "noise_seed": args.seed,
    }


def _cells(strategies: Sequence[str], delays: Sequence[int]) -> list[Cell]:
    return [Cell(strategy, delay) for strategy in strategies for delay in delays]


def _wanted(strategies: Sequence[str], delays: Sequence[int], args: argparse.Namespace) -> dict[Cell, list[int]]:
    """Seeds of each cell, those of the paired comparison included."""
    counts = dict.fromkeys(_cells(strategies, delays), args.episodes)
    for delay in PAIRED[1:] if args.paired else ():
        cell = Cell(PAIRED[0], delay)
        counts[cell] = max(counts.get(cell, 0), args.paired)
    return {cell: [args.seed + k for k in range(count)] for cell, count in counts.items()}


def _played(args: argparse.Namespace, values: Mapping[str, str], cell: Cell, seeds: Sequence[int]) -> Iterator[TimedEpisode]:
    from lawam_ros.cli.direct_worker import DirectJob, outcomes

    if not seeds:
        return
    rtc, merge = STRATEGIES[cell.strategy]
    own = {"rtc": rtc, "latency_s": f"{(args.latency_ms + cell.delay_ms) * 1e-3:.6f}"}
    own["set"] = ";".join([*args.set, f"task.executor.merge={merge}"])
    tick_s = bringup.contract_for(args.task, values).robot.tick_period_ns * 1e-9
    for outcome in outcomes(DirectJob(args.task, {**values, **own}, args.seed, None, ()), seeds, args.jobs):
        yield timed(outcome, tick_s)


def timed(outcome: "DirectOutcome", tick_s: float) -> TimedEpisode:
    """What counts of an episode."""
    from lawam_ros.control.chunk_streams import jerks

    result, measured = outcome.result, outcome.measured
    path = np.array(measured.path_m)
    moving = np.linalg.norm(np.diff(path, axis=0), axis=-1)[2:] > _MOVING_M_S * tick_s
    jerk = jerks(path, tick_s)[moving]
    return TimedEpisode(
        seed=result.seed,
        success=result.success,
        reason=result.reason,
        time_s=result.time_s,
        jerk_rms_m_s3=float(np.sqrt(np.mean(jerk**2))) if len(jerk) else 0.0,
        jerk_p99_m_s3=float(np.percentile(jerk, 99)) if len(jerk) else 0.0,
        reaction_ms=reaction_ms(measured.uses),
        held_share=measured.held_ticks / max(1, measured.commands),
        violations=measured.violations,
        prefixes=dict(measured.prefixes),
    )


def _row(cell: Cell, episodes: Sequence[TimedEpisode]) -> dict[str, Any]:
    prefixes = sum((Counter(episode.prefixes) for episode in episodes), Counter())
    successes = sum(episode.success for episode in episodes)
    return {
        "strategy": cell.strategy,
        "delay_ms": cell.delay_ms,
        "episodes": len(episodes),
        "successes": successes,
        "success_interval": list(wilson_interval(successes, len(episodes))),
        "time_s_of_successes": mean([episode.time_s for episode in episodes if episode.success]),
        "jerk_rms_m_s3": mean([episode.jerk_rms_m_s3 for episode in episodes]),
        "jerk_p99_m_s3": mean([episode.jerk_p99_m_s3 for episode in episodes]),
        "reaction_ms": mean([episode.reaction_ms for episode in episodes]),
        "held_share": mean([episode.held_share for episode in episodes]),
        "violations": sum(episode.violations for episode in episodes),
        "prefixes": dict(prefixes),
    }


def _paired(folder: CellFolder, args: argparse.Namespace) -> PairedDifference | None:
    if not args.paired:
        return None
    first, second = (folder.episodes(Cell(PAIRED[0], delay)) for delay in PAIRED[1:])
    return paired_difference([(first[seed].success, second[seed].success) for seed in (args.seed + k for k in range(args.paired))])


def marks_of(rows: Sequence[Mapping[str, Any]], paired: PairedDifference | None) -> list[dict[str, Any]]:
    """What was to be reached and whether it was, as far as it was measured."""
    violations = sum(row["violations"] for row in rows)
    marks = [{"mark": "commands beyond a limit", "value": violations, "limit": 0, "met": violations == 0}]
    if paired is not None:
        fall = -paired.difference
        marks.append({"mark": "fall of success at 150 ms", "value": fall, "limit": LARGEST_FALL, "met": fall <= LARGEST_FALL})
        marks.append({"mark": "lower end of its interval", "value": paired.low, "limit": LOWEST_END, "met": paired.low >= LOWEST_END})
    return marks


def as_markdown(report: Mapping[str, Any]) -> str:
    """Table and paired comparison, ready for a document."""
    head = f"`{report['checkpoint']}` on `{report['task']}`, latency {report['latency_ms']} ms plus the added delay"
    lines = [
        f"{head}, seeds from {report['noise_seed']}.",
        "",
        "| strategy | added delay | success (95 %) | time | jerk, rms | jerk, p99 | reaction | in HOLD |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in report["cells"]:
        low, high = (100.0 * bound for bound in row["success_interval"])
        lines.append(
            f"| {row['strategy']} | {row['delay_ms']} ms | {row['successes']} of {row['episodes']} ({low:.0f} to {high:.0f} %) "
            f"| {_number(row['time_s_of_successes'], '.1f')} s | {row['jerk_rms_m_s3']:.1f} m/s³ | {row['jerk_p99_m_s3']:.1f} m/s³ "
            f"| {_number(row['reaction_ms'], '.0f')} ms | {100.0 * row['held_share']:.0f} % |"
        )
    kinds = {kind for row in report["cells"] if row["strategy"] == "rtc" for kind in row["prefixes"] if kind != "none"}
    if kinds:
        lines += ["", f"rtc: prefixes {' and '.join(sorted(kinds))}."]
    if report["paired"]:
        found = PairedDifference(**report["paired"])
        first, second, difference, low, high = (100.0 * x for x in (found.first, found.second, found.difference, found.low, found.high))
        lines += [
            "",
            f"rtc over {found.pairs} equal seeds: {first:.1f} % with 0 ms and {second:.1f} % with 150 ms, "
            f"difference {difference:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}).",
        ]
    lines += [""] + [f"{'met' if m['met'] else 'MISSED'}: {m['mark']}: {m['value']:.3g} (limit {m['limit']:g})" for m in report["marks"]]
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    import cv2

    from lawam_ros.viz.timing_plot import TimingLine, timing_plot

    lines = {}
    for name in dict.fromkeys(row["strategy"] for row in rows):
        own = sorted((row for row in rows if row["strategy"] == name), key=lambda row: row["delay_ms"])
        lines[name] = TimingLine(
            delay_ms=[row["delay_ms"] for row in own],
            success=[100.0 * row["successes"] / row["episodes"] for row in own],
            success_low=[100.0 * row["success_interval"][0] for row in own],
            success_high=[100.0 * row["success_interval"][1] for row in own],
            jerk=[row["jerk_rms_m_s3"] for row in own],
            reaction=[float("nan") if row["reaction_ms"] is None else row["reaction_ms"] for row in own],
        )
    cv2.imwrite(os.fspath(path), timing_plot(lines)[..., ::-1])
