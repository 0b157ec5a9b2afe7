"""``lawam bench fuzz``: the executor under random and adversarial treatment, every command judged for limits."""

import argparse
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import config_dir, urdf_dir
from lawam_ros.control.fuzzing import FuzzResult, fuzz

_PART_TICKS = 20_000
_DESCRIPTION = """\
Chunks that are smooth, wild, out of reach, spinning or not numbers at all, late, lost, twice and out of order; holds, stops, resets, clock
jumps, joint states that are lost, moved or spoilt; rates from 50 to 1000 Hz, 3 to 100 percent of the vendor's limits, every merge strategy.
A judge of its own checks every command. The same seed gives the same run, however many processes share it.
Exit code 1 where a limit is broken or an output is not finite.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "fuzz",
        help="limits of the executor under adversarial chunks",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ticks", type=float, default=1e5, metavar="N", help="ticks in all, such as 1e7 (default: %(default)g)")
    parser.add_argument("--robots", default="franka_panda,franka_fr3,two_pandas", help="robot files that share them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: CPUs)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 1 where something was violated. Raises UserMistake for a wrong call."""
    from tqdm import tqdm

    robots = [name.strip() for name in args.robots.split(",")]
    known = sorted(path.stem for path in (config_dir() / "robots").glob("*.yaml"))
    if not set(robots) <= set(known):
        raise UserMistake(f"--robots: expected names out of {', '.join(known)}, got {args.robots!r}")
    jobs = args.jobs if args.jobs is not None else os.cpu_count() or 1
    if not 1.0 <= args.ticks <= 1e10 or jobs < 1 or args.seed < 0:
        raise UserMistake("expected --ticks from 1 to 1e10, --jobs of at least 1 and --seed not below 0")
    begin, found = time.monotonic(), {name: FuzzResult() for name in robots}
    with tqdm(total=int(args.ticks), unit="tick", unit_scale=True, leave=False) as bar:
        for name, part in _results(_parts(robots, args.seed, int(args.ticks)), jobs):
            found[name].add(part)
            bar.update(part.ticks)
    total = FuzzResult()
    for result in found.values():
        total.add(result)
    report = {
        **_as_mapping(total),
        "seed": args.seed,
        "seconds": time.monotonic() - begin,
        "robots": {name: _as_mapping(result) for name, result in found.items()},
    }
    print(as_text(report))
    if args.json:
        print(json.dumps(report))
    broken = total.verdict.violations.total() + total.non_finite_outputs
    return EXIT_CRITERION_MISSED if broken else EXIT_DONE


def _parts(robots: list[str], seed: int, ticks: int) -> list[tuple[str, int, int]]:
    """(robot, seed, ticks) of the parts that make up the run, whoever works on them."""
    parts = []
    for number, start in enumerate(range(0, ticks, _PART_TICKS)):
        parts.append((robots[number % len(robots)], seed * 1_000_003 + number, min(_PART_TICKS, ticks - start)))
    return parts


def _results(parts: list[tuple[str, int, int]], jobs: int) -> Iterator[tuple[str, FuzzResult]]:
    if jobs == 1:
        for part in parts:
            yield part[0], fuzz_part(*part)
        return
    with ProcessPoolExecutor(min(jobs, len(parts)), mp_context=get_context("spawn")) as pool:
        running = {pool.submit(fuzz_part, *part): part[0] for part in parts}
        for done in as_completed(running):
            yield running[done], done.result()


def fuzz_part(robot: str, seed: int, ticks: int) -> FuzzResult:
    """One part of a run, in any process."""
    contract = load_contract("franka_pick_place", robot, [f"task.robots=[{robot}]", "task.policy.cameras.wrist=[]"])
    return fuzz(contract, (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8"), seed, ticks)


def _as_mapping(result: FuzzResult) -> dict[str, Any]:
    return {
        "ticks": result.ticks,
        "commands_judged": result.verdict.commands,
        "violations": result.verdict.violations.total(),
        "violations_by_quantity": dict(result.verdict.violations),
        "non_finite_outputs": result.non_finite_outputs,
        "worst_share_of_limit": dict(sorted(result.verdict.worst.items())),
        "events": dict(sorted(result.events.items())),
    }


def as_text(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"{report['ticks']} ticks in {report['seconds']:.0f} s, {report['commands_judged']} commands judged: "
        f"{report['violations']} violations, {report['non_finite_outputs']} outputs that are not finite",
        "largest share of each limit: " + ", ".join(f"{name} {share:.6f}" for name, share in report["worst_share_of_limit"].items()),
    ]
    taken = report["events"].get("chunk taken", 0)
    refused = sum(count for name, count in report["events"].items() if name.startswith("chunk refused"))
    states = ", ".join(f"{name} {report['events'].get(name, 0)}" for name in ("RUN", "HOLD", "STOP", "LATCHED", "INACTIVE"))
    return "\n".join([*lines, f"{taken} chunks taken, {refused} refused; ticks in {states}"])
