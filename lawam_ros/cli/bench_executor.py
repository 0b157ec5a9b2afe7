"""``lawam bench executor``: what a tick costs, and how punctual the tick thread is next to a bare C loop."""

import argparse
import gc
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lawam_ros.cli.nanosleep_loop import compiled_loop, run_loop
from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.projection import by_daqp, by_least_distance
from lawam_ros.control.rehearsal import Rehearsal, reach_and_return

ROBOTS = {7: "franka_panda", 14: "two_pandas"}
COST_MARK_US = {"p50": 200.0, "p99": 500.0}
KEPT_MARK_POINTS = 0.1
_CHUNK_PERIOD_S = 0.4
_WAY_S = 2.0
_PAUSE_S = 0.0005
_DESCRIPTION = """\
Made-up chunks of 24 points at 20 Hz, a new one every 0.4 s, through the whole tick: plan, workspace, inverse kinematics, limiter, guard.
Cost: ticks one after the other, wall time and this thread's CPU time (the one that other programs do not disturb). Lateness: the executor's
tick thread with such ticks, taking turns with a C program that only sleeps until absolute deadlines, idle and beside busy processes.
Marks: 14 joints p50 at most 200 us and p99 at most 500 us of wall time; at 500 Hz as many periods kept as the C loop but for 0.1 point.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "executor",
        help="cost per tick and punctuality of the executor",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dof", default="7,14", metavar="N,N", help="joints: 7 (one Panda), 14 (two Pandas) (default: %(default)s)")
    parser.add_argument("--rate", default="250,500,1000", metavar="HZ,HZ", help="ticks per second (default: %(default)s)")
    parser.add_argument("--ticks", type=int, default=5000, help="ticks whose cost is measured, per robot and rate (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of lateness per robot, rate and load, 0 for none (default: %(default)s)"
    )
    parser.add_argument("--busy", type=int, metavar="N", help="busy processes of the loaded run, 0 for no such run (default: CPUs)")
    parser.add_argument("--require", action="store_true", help="exit code 1 where a mark is missed")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class _Case:
    dof: int
    rate_hz: float
    follower: str = "own"


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 1 with ``--require`` where a mark is missed. Raises UserMistake for numbers that cannot be."""
    from tqdm import tqdm

    cases = [_Case(dof, rate) for dof in _robots(args.dof) for rate in _rates(args.rate)]
    busy = os.cpu_count() or 1 if args.busy is None else args.busy
    if args.ticks < 100 or args.seconds < 0.0 or busy < 0:
        raise UserMistake("expected --ticks of at least 100, --seconds and --busy not below 0")
    loads = [0] if busy == 0 else [0, busy]
    followers = ["own", "ruckig"] if importlib.util.find_spec("ruckig") else ["own"]
    costly = [replace(case, follower=follower) for follower in followers for case in cases]
    cost: list[dict[str, Any]] = []
    lateness: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="lawam_bench_") as folder,
        tqdm(total=len(costly) + len(cases) * len(loads), leave=False) as bar,
    ):
        program = compiled_loop(Path(folder))
        for case in costly:
            cost.append(cost_of(case, args.ticks))
            bar.update()
        for load in loads if args.seconds > 0.0 else []:
            with busy_processes(load):
                for case in cases:
                    lateness.append(lateness_of(case, args.seconds, load, program))
                    bar.update()
    report = {
        "machine": {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()},
        "load_average_before": os.getloadavg()[0],
        "c_loop": "compiled" if program else "no C compiler found, nothing to compare with",
        "cost": cost,
        "projection_us": projection_cost(),
        "lateness": lateness,
    }
    marks = marks_of(cost, lateness)
    report["marks"] = marks
    print(as_text(report))
    if args.json:
        print(json.dumps(report))
    missed = args.require and not all(mark["met"] for mark in marks)
    return EXIT_CRITERION_MISSED if missed else EXIT_DONE


def _robots(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) in ROBOTS for part in parts):
        raise UserMistake(f"--dof: expected {' or '.join(map(str, ROBOTS))} or both with a comma, got {text!r}")
    return [int(part) for part in parts]


def _rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        rates = []
    if not rates or not all(20.0 <= rate <= 1000.0 for rate in rates):
        raise UserMistake(f"--rate: expected numbers from 20 to 1000 such as 250,500, got {text!r}")
    return rates


class _Run:
    """A rehearsal that gets its chunks in time."""

    def __init__(self, case: _Case) -> None:
        robot = ROBOTS[case.dof]
        contract = load_contract("franka_pick_place", robot, [f"task.robots=[{robot}]", f"robot.tick_hz={case.rate_hz}"])
        contract = replace(contract, robot=replace(contract.robot, follower=case.follower))
        self.rehearsal = Rehearsal(contract, (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8"))
        self._start = self.rehearsal.poses
        self._begin_ns = self.rehearsal.now_ns
        self._chunk_every = round(_CHUNK_PERIOD_S * case.rate_hz)
        self._ticks = 0
        self._noise = np.random.default_rng(1)

    def chunk_if_due(self) -> float | None:
        """Seconds it took to take a chunk over, None where none was due."""
        if self._ticks % self._chunk_every:
            return None
        rehearsal, policy = self.rehearsal, self.rehearsal.contract.task.policy
        times = (rehearsal.now_ns - self._begin_ns) * 1e-9 + (np.arange(policy.steps) + policy.action_offset_steps) / policy.action_hz
        move, turn = np.array([0.08, 0.15, -0.1]), np.array([0.0, 0.2, 0.5])
        tables = {name: reach_and_return(pose, move, turn, _WAY_S, times) for name, pose in self._start.items()}
        for table in tables.values():
            table[:, :3] += self._noise.normal(size=3) * 0.003
        chunk = rehearsal.chunk(tables, rehearsal.now_ns)
        begin = time.perf_counter()
        refused = rehearsal.offer(chunk)
        took = time.perf_counter() - begin
        if refused is not None:
            raise RuntimeError(f"the executor refused a chunk of the benchmark: {refused}")
        return took

    def tick(self) -> None:
        self._ticks += 1
        self.rehearsal.tick()

    def prepare(self) -> float | None:
        """What comes between two ticks: time, joint states, perhaps a chunk."""
        self.rehearsal.now_ns += self.rehearsal.period_ns
        self.rehearsal.measure()
        return self.chunk_if_due()


def cost_of(case: _Case, ticks: int) -> dict[str, Any]:
    """Microseconds per tick and per chunk taken over."""
    ran = _Run(case)
    walls: list[float] = []
    cpus: list[float] = []
    chunks: list[float] = []
    gc.collect()
    gc.freeze()
    for _ in range(ticks + 100):
        # A tick is followed by sleep in the robot too; without it the scheduler would take the processor away in the middle of one.
        time.sleep(_PAUSE_S)
        took = ran.prepare()
        if took is not None:
            chunks.append(took * 1e6)
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        ran.tick()
        walls.append((time.perf_counter_ns() - wall) / 1e3)
        cpus.append((time.thread_time_ns() - cpu) / 1e3)
    gc.unfreeze()
    return {
        "dof": case.dof,
        "rate_hz": case.rate_hz,
        "follower": case.follower,
        "ticks": ticks,
        "wall_us": _quantiles(walls[100:]),
        "cpu_us": _quantiles(cpus[100:]),
        "chunk_us": _quantiles(chunks),
        "state": ran.rehearsal.executor.status.state,
    }


def projection_cost() -> dict[str, float | None]:
    """Microseconds (p50) of the collision filter's quadratic programme where hands touch: own method, and daqp where it is installed."""
    rng = np.random.default_rng(1)
    normals = np.concatenate([np.eye(6), -np.eye(6), rng.normal(size=(30, 6))])
    bounds = normals @ np.full(6, 0.5) - rng.uniform(0.0, 0.2, len(normals))
    wanted = np.full(6, 0.5) + 0.05 * rng.normal(size=6)
    found: dict[str, float | None] = {"own": None, "daqp": None}
    solvers = {"own": by_least_distance} | ({"daqp": by_daqp} if importlib.util.find_spec("daqp") else {})
    for name, solver in solvers.items():
        times = []
        for _ in range(200):
            begin = time.perf_counter_ns()
            solver(wanted, normals, bounds)
            times.append((time.perf_counter_ns() - begin) / 1e3)
        found[name] = float(np.median(times))
    return found


def _quantiles(values: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "max": float(max(values))}


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes that compute without end."""
    workers = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def lateness_of(case: _Case, seconds: float, busy: int, program: Path | None) -> dict[str, Any]:
    """Lateness and periods kept of the tick thread and of the C loop, in turns of a second so that both meet the same machine."""
    turns = max(1, round(seconds))
    count = max(10, round(seconds / turns * case.rate_hz))
    own: tuple[list[int], int] = ([], 0)
    bare: tuple[list[int], int] = ([], 0)
    for _ in range(turns):
        own = _joined(own, _tick_thread_turn(case, count))
        if program is not None:
            bare = _joined(bare, run_loop(program, round(1e9 / case.rate_hz), count))
    found: dict[str, Any] = {"dof": case.dof, "rate_hz": case.rate_hz, "busy_processes": busy, "tick_thread": _punctuality(*own)}
    found["c_loop"] = None if program is None else _punctuality(*bare)
    return found


def _joined(a: tuple[list[int], int], b: tuple[list[int], int]) -> tuple[list[int], int]:
    return a[0] + b[0], a[1] + b[1]


def _tick_thread_turn(case: _Case, count: int) -> tuple[list[int], int]:
    from lawam_ros.nodes.tick_thread import TickThread

    ran, done = _Run(case), threading.Event()
    late: list[int] = []

    def on_tick(deadline_ns: int, index: int) -> None:
        late.append(time.monotonic_ns() - deadline_ns)
        ran.prepare()
        ran.tick()
        if len(late) >= count:
            done.set()

    thread = TickThread(ran.rehearsal.period_ns, on_tick, done.set)
    thread.start()
    finished = done.wait(timeout=20.0 + 4.0 * count / case.rate_hz)
    thread.stop()
    if not finished or len(late) < count:
        raise RuntimeError("the tick thread ended early; its traceback is above")
    return late[:count], thread.dropped


def _punctuality(late_ns: list[int], dropped: int) -> dict[str, float]:
    quantiles = _quantiles([late / 1e3 for late in late_ns])
    return {f"late_us_{name}": value for name, value in quantiles.items()} | {
        "periods": len(late_ns) + dropped,
        "kept_percent": 100.0 * len(late_ns) / (len(late_ns) + dropped),
    }


def marks_of(cost: list[dict[str, Any]], lateness: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was to be reached and whether it was, as far as it was measured."""
    marks = []
    for row in cost:
        if row["dof"] == 14 and row["follower"] == "own":
            for name, limit in COST_MARK_US.items():
                value = row["wall_us"][name]
                marks.append(
                    {"mark": f"14 joints, {row['rate_hz']:g} Hz, {name} us", "limit": limit, "value": value, "met": value <= limit}
                )
    for row in lateness:
        if row["rate_hz"] == 500.0 and row["c_loop"] is not None:
            value = row["c_loop"]["kept_percent"] - row["tick_thread"]["kept_percent"]
            what = f"{row['dof']} joints, 500 Hz, {row['busy_processes']} busy: points of periods fewer than C"
            marks.append({"mark": what, "limit": KEPT_MARK_POINTS, "value": value, "met": value <= KEPT_MARK_POINTS})
    return marks


def as_text(report: dict[str, Any]) -> str:
    """The report as tables for people."""
    lines = [f"{'joints':>6} {'Hz':>5} {'follower':>8} {'wall p50':>9} {'p99':>7} {'cpu p50':>8} {'p99':>7} {'chunk p50':>10} us"]
    for row in report["cost"]:
        wall, cpu, chunk = row["wall_us"], row["cpu_us"], row["chunk_us"]
        lines.append(
            f"{row['dof']:>6} {row['rate_hz']:>5g} {row['follower']:>8} {wall['p50']:>9.0f} {wall['p99']:>7.0f} "
            f"{cpu['p50']:>8.0f} {cpu['p99']:>7.0f} {chunk['p50']:>10.0f}"
        )
    solvers = ", ".join(f"{name} {us:.0f} us" if us else f"{name} not installed" for name, us in report["projection_us"].items())
    lines.append(f"quadratic programme of the collision filter: {solvers}")
    if report["lateness"]:
        lines += ["", f"{'joints':>6} {'Hz':>5} {'busy':>5}  {'late us p50':>12} {'p99':>8} {'kept %':>9}   C loop: the same"]
    for row in report["lateness"]:
        lines.append(
            f"{row['dof']:>6} {row['rate_hz']:>5g} {row['busy_processes']:>5}  {_columns(row['tick_thread'])}   {_columns(row['c_loop'])}"
        )
    lines += [
        f"{'met' if mark['met'] else 'MISSED'}: {mark['mark']}: {mark['value']:.3g} (limit {mark['limit']:g})" for mark in report["marks"]
    ]
    return "\n".join(lines)


def _columns(found: dict[str, float] | None) -> str:
    if found is None:
        return "not measured, no C compiler"
    return f"{found['late_us_p50']:>12.0f} {found['late_us_p99']:>8.0f} {found['kept_percent']:>9.3f}"
