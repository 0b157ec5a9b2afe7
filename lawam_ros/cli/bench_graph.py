"""``lawam bench graph``: from the exposure of a camera image to the first tick that could use its chunk, through the real nodes."""

import argparse
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lawam_ros import bringup
from lawam_ros.cli.domain import ReservedDomain
from lawam_ros.cli.process_group import ProcessGroup
from lawam_ros.cli.synthetic_streams import publish_cameras, publish_joints
from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, EnvironmentLacks, LawamError, UserMistake
from lawam_ros.contract.load import Contract, load_contract

MARK_MS = {"p50": 8.0, "p99": 15.0}
TASK = "franka_pick_place"
_WIDTH, _HEIGHT, _CAMERA_HZ = 640, 480, 30.0
_START_S = 30.0
_WARM_UP_S = 3.0
_CHUNKS_NEEDED = 5
_TRIES = 3
"""A window in which the executor latched, because the machine had other things to do, is measured again."""
_DESCRIPTION = """\
Two synthetic cameras of 640x480 pixels at 30 Hz and joint states at 125 Hz, published by a process of their own, into the nodes policy and
chunk_executor as they are launched, with the policy 'hold', which takes no time. Measured from outside: the stamp of an observation (the
cameras' exposure, just before their images are published) to the stamp of the first tick that knows of its chunk. Beside it the same time
by steps, as the policy node publishes it in /diagnostics. Marks: 8 ms (p50) and 15 ms (p99) on two idle cores; the share of the processor
that was idle and the load average say how idle they were.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "graph",
        help="latency from image to command through the nodes",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="measured, after a warm-up (default: %(default)s)")
    parser.add_argument("--replan", type=float, default=0.1, metavar="S", help="between looks of the policy (default: %(default)s)")
    parser.add_argument("--domain", type=int, default=None, help="ROS domain; default: a free one of its own")
    parser.add_argument("--require", action="store_true", help="exit code 1 where a mark is missed")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 1 with ``--require`` where a mark is missed. Raises UserMistake, and EnvironmentLacks without ROS."""
    if not 1.0 <= args.seconds <= 3600.0 or not 0.0 <= args.replan <= 1.0:
        raise UserMistake("expected --seconds from 1 to 3600 and --replan from 0 to 1")
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise EnvironmentLacks(f"rclpy does not import ({error}); run 'make setup', or source your ROS 2 installation first") from error
    report = measured(args.seconds, args.replan, args.domain)
    print(as_text(report))
    if args.json:
        print(json.dumps(report))
    return EXIT_CRITERION_MISSED if args.require and not all(mark["met"] for mark in report["marks"]) else EXIT_DONE


def measured(seconds: float, replan_s: float, domain: int | None = None) -> dict[str, Any]:
    """Latencies, steps, marks and what the machine did meanwhile."""
    overrides = _overrides(replan_s)
    contract = load_contract(TASK, None, overrides)
    parameters: dict[str, bringup.Value] = {"task": TASK, "robot": contract.robot.name, "overrides": ";".join(overrides)}
    nodes = (
        bringup.NodeSpec("chunk_executor", {**parameters, "instruction": "hold"}),
        bringup.NodeSpec("policy", {**parameters, "checkpoint": "hold", "device": "cpu"}),
    )
    with _graph(contract, nodes, domain) as (group, listener):
        for _ in range(_TRIES):
            listener.wait_for_chunks(group, nodes)
            time.sleep(_WARM_UP_S)
            pids = {node.name: group.state(node.name).pid for node in nodes}
            before, began_s, loads = _cpu(pids), time.monotonic(), os.getloadavg()[0]
            listener.uses.clear()
            time.sleep(seconds)
            after, took_s = _cpu(pids), time.monotonic() - began_s
            latencies_ms = [(used - seen) * 1e-6 for seen, used in listener.uses]
            reports = dict(listener.reports)
            if len(latencies_ms) >= _CHUNKS_NEEDED:
                break
            listener.uses.clear()
    if len(latencies_ms) < _CHUNKS_NEEDED:
        raise LawamError(
            f"expected chunks all the time, {len(latencies_ms)} were used in {seconds:g} s, {_TRIES} times over; the executor is in "
            f"{reports.get('chunk_executor', {}).get('state', 'no state')}; the machine is too busy to measure"
        )
    found = {name: float(np.percentile(latencies_ms, q)) for name, q in (("p50", 50), ("p99", 99), ("max", 100))}
    return {
        "chunks": len(latencies_ms),
        "observation_to_tick_ms": found,
        "steps_ms": _steps(reports.get("policy", {})),
        "machine": {
            "cpus": os.cpu_count(),
            "load_average_before": loads,
            "idle_percent": 100.0 * (after["idle"] - before["idle"]) / ((os.cpu_count() or 1) * took_s),
            "cpu_percent": {name: 100.0 * (after[name] - before[name]) / took_s for name in pids},
        },
        "marks": [{"mark": name, "limit": limit, "value": found[name], "met": found[name] <= limit} for name, limit in MARK_MS.items()],
    }


def _overrides(replan_s: float) -> list[str]:
    contract = load_contract(TASK)
    policy = contract.task.policy
    sizes = {"width": _WIDTH, "height": _HEIGHT, "rate_hz": _CAMERA_HZ}
    cameras = [
        f"robot.cameras.{name}.{key}={value}" for name in policy.primary_cameras + policy.wrist_cameras for key, value in sizes.items()
    ]
    return [*cameras, f"task.policy.replan_period_s={replan_s}"]


def _steps(report: dict[str, str]) -> dict[str, dict[str, float]]:
    """step -> p50 and p99 in ms, of a report of the policy node."""
    found: dict[str, dict[str, float]] = {}
    for key, text in report.items():
        if key.startswith("step_ms_"):
            name, _, quantile = key.removeprefix("step_ms_").rpartition("_")
            found.setdefault(name, {})[quantile] = float(text)
    return found


@contextmanager
def _graph(contract: Contract, nodes: tuple[bringup.NodeSpec, ...], domain: int | None) -> "Iterator[tuple[ProcessGroup, Listener]]":
    reserved = ReservedDomain(domain)
    variables = bringup.environment("sim") | {"ROS_DOMAIN_ID": str(reserved.number)}
    os.environ.update(variables)
    context = multiprocessing.get_context("spawn")
    drivers = [
        context.Process(target=driver, args=(contract, reserved.number), daemon=True) for driver in (publish_cameras, publish_joints)
    ]
    try:
        with ProcessGroup(nodes, "", variables) as group:
            for driver in drivers:
                driver.start()
            listener = Listener(reserved.number)
            try:
                yield group, listener
            finally:
                listener.close()
                for driver in drivers:
                    driver.kill()
                    driver.join()
    finally:
        reserved.release()


class Listener:
    """Hears chunks, the executor's status and diagnostics. uses: stamps (ns) of observations and of the first tick with their chunk."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.context import Context
        from rclpy.signals import SignalHandlerOptions
        from std_srvs.srv import Trigger
        from trajectory_msgs.msg import JointTrajectory

        from lawam_ros.nodes import messages, qos
        from lawam_ros.nodes.message_executor import MessageExecutor
        from lawam_ros.nodes.status import status_from_message

        self.uses: list[tuple[int, int]] = []
        self.reports: dict[str, dict[str, str]] = {}
        self._observed_ns: dict[int, int] = {}
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("lawam_bench", context=self._context)

        def on_chunk(message: Any) -> None:
            self._observed_ns[messages.chunk_from_message(message).sequence] = messages.nanoseconds(message.header.stamp)

        def on_status(message: Any) -> None:
            status = status_from_message(message)
            seen = self._observed_ns.pop(status.accepted_sequence, None)
            if seen is not None:
                self.uses.append((seen, status.stamp_ns))

        def on_diagnostics(message: Any) -> None:
            for status in message.status:
                self.reports[status.name] = messages.values_by_key(status)

        self._reset = self._node.create_client(Trigger, "chunk_executor/reset")
        self._node.create_subscription(JointTrajectory, "lawam/action_chunk", on_chunk, qos.CHUNK)
        self._node.create_subscription(DiagnosticArray, "lawam/status", on_status, qos.LATCHED)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, qos.DIAGNOSTICS)
        self._executor = MessageExecutor(context=self._context)
        self._executor.add_node(self._node)
        threading.Thread(target=self._executor.spin, name="listener", daemon=True).start()

    def wait_for_chunks(self, group: ProcessGroup, nodes: tuple[bringup.NodeSpec, ...]) -> None:
        """Until the first chunk was used. Raises with a node's own last words when one ends, or says what the nodes say."""
        from std_srvs.srv import Trigger

        from lawam_ros.cli.episodes import raise_if_ended

        deadline = time.monotonic() + _START_S
        while not self.uses:
            for node in nodes:
                raise_if_ended(group, node.name)
            if self.reports.get("chunk_executor", {}).get("state") == "LATCHED":  # on a busy machine, while the other processes started
                self._reset.call_async(Trigger.Request())
            if time.monotonic() > deadline:
                keys = ("state", "reason", "waiting_for")
                said = {name: {key: report[key] for key in keys if report.get(key)} for name, report in self.reports.items()}
                raise EnvironmentLacks(f"no chunk was used within {_START_S:.0f} s; the nodes say {said}")
            time.sleep(0.5)

    def close(self) -> None:
        import rclpy

        self._executor.shutdown(timeout_sec=1.0)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)


def _cpu(pids: dict[str, int]) -> dict[str, float]:
    """CPU seconds of processes so far, and seconds all processors have been idle (``idle``)."""
    tick_hz = os.sysconf("SC_CLK_TCK")
    used = {"idle": int(Path("/proc/stat").read_text().splitlines()[0].split()[4]) / tick_hz}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used[name] = (int(fields[11]) + int(fields[12])) / tick_hz
    return used


def as_text(report: dict[str, Any]) -> str:
    """The report for people."""
    total, machine = report["observation_to_tick_ms"], report["machine"]
    lines = [
        f"{report['chunks']} chunks, observation to tick: p50 {total['p50']:.2f} ms, p99 {total['p99']:.2f} ms, max {total['max']:.2f} ms"
    ]
    lines += [f"  {name:<14} p50 {ms['p50']:>6.2f}  p99 {ms['p99']:>6.2f} ms" for name, ms in report["steps_ms"].items()]
    shares = ", ".join(f"{name} {percent:.0f} %" for name, percent in machine["cpu_percent"].items())
    lines.append(
        f"load {machine['load_average_before']:.1f} on {machine['cpus']} processors, {machine['idle_percent']:.0f} % idle; {shares}"
    )
    lines += [f"{'met' if m['met'] else 'MISSED'}: {m['mark']}: {m['value']:.2f} ms (limit {m['limit']:g})" for m in report["marks"]]
    return "\n".join(lines)
