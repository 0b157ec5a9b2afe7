"""``lawam replay``: a recorded run through the real nodes again, held against what was recorded."""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from lawam_ros import bringup
from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, LawamError, UserMistake

POLICIES = ("lawam", "recorded", "remote")
_POLL_S = 0.05
DESCRIPTION = """\
Feeds the observations of a bag through policy and chunk executor and compares chunks, commands and stops with the recording. In lock step
(default) everybody is waited for: the same bag and seed give the same commands, however slow the machine. Exits 1 on a regression, so that
a golden recording is a test. Bags of other software replay too: sqlite3 or MCAP, topics found by the robot file's names or --remap.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("replay", help="run a recording through the nodes again and compare", description=DESCRIPTION)
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder of rosbag2, or one of its .mcap or .db3 files")
    parser.add_argument(
        "--policy",
        default="lawam",
        choices=POLICIES,
        help="lawam: a checkpoint, by default the recorded one; recorded: the recorded chunks again, to test everything but the policy; "
        "remote: the server named by --checkpoint (default: %(default)s)",
    )
    parser.add_argument("--checkpoint", default="", help="another policy than the recorded one: as for 'lawam eval'")
    parser.add_argument(
        "--rate",
        default="lockstep",
        metavar="R|lockstep",
        help="real time at R times the recorded speed, or lock step (default: %(default)s)",
    )
    parser.add_argument("--throttle", type=float, default=1.0, metavar="F", help="lock step at this share of its speed (default: 1)")
    parser.add_argument("--closed", action="store_true", help="chunks start from the new commands instead of the recorded ones")
    parser.add_argument("--against", type=Path, default=None, metavar="GOLDEN", help="compare with this recording instead of BAG itself")
    parser.add_argument("--task", default="", help="task of the recording; default: what the bag tells")
    parser.add_argument("--robot", default="", help="robot of the recording; default: what the bag tells")
    parser.add_argument("--instruction", default="", help="sentence for the policy where the bag tells none; default: the task's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="contract override, behind those of the recording")
    parser.add_argument(
        "--remap", action="append", default=[], metavar="THEIRS:=OURS", help="a topic that the bag calls otherwise than the robot file"
    )
    parser.add_argument("--latency-ms", type=float, default=None, help="in lock step, from an observation to the use of its chunk")
    parser.add_argument("--seed", type=int, default=None, help="seed of the policy's noise; default: the recorded one")
    parser.add_argument("--tolerance-m", type=float, default=1e-4, help="largest deviation of a target in m (default: %(default)s)")
    parser.add_argument("--tolerance-rad", type=float, default=1e-3, help="largest deviation of an orientation (default: %(default)s)")
    parser.add_argument(
        "--tolerance-command-rad",
        type=float,
        default=None,
        help="largest deviation of a commanded joint in rad (default: 0.001 where recording and replay are in lock step, else 0.05)",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="device of the model (default: %(default)s)")
    parser.add_argument("--domain", type=int, default=None, help="ROS domain; default: a free one of its own")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object, as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 where the replay is not as recorded. Raises UserMistake, and EnvironmentLacks without ROS."""
    report = replay(args)
    print(report.pop("text"))
    if args.json:
        print(json.dumps(report))
    return EXIT_CRITERION_MISSED if report["regression"] else EXIT_DONE


def replay(args: argparse.Namespace) -> dict[str, Any]:
    """The report of ``data/replay_report.py``, as a mapping and as ``text``."""
    from lawam_ros.cli.demo import check_ros
    from lawam_ros.data.replay_setup import replay_values

    check_ros()
    values = replay_values(args.bag, given(args))
    return run_nodes(values, args.domain)


def given(args: argparse.Namespace) -> dict[str, str]:
    """Launch arguments of a call, empty where the bag is to tell. Raises UserMistake."""
    from lawam_ros.cli.replay_nodes import REPLAY_ARGUMENTS
    from lawam_ros.policies.choose import RECORDED

    rate = _rate(args.rate)
    if not 0.0 < args.throttle <= 1.0:
        raise UserMistake(f"--throttle: expected a share above 0, up to 1, got {args.throttle:g}")
    if args.policy == "recorded" and args.checkpoint:
        raise UserMistake("--policy recorded plays the recorded chunks; leave out --checkpoint")
    if args.policy == "remote" and not args.checkpoint:
        raise UserMistake("--policy remote: expected the address of the server as --checkpoint")
    if args.latency_ms is not None and not 0.0 <= args.latency_ms <= 5000.0:
        raise UserMistake(f"--latency-ms: expected 0 to 5000, got {args.latency_ms:g}")
    bag = str(args.bag.expanduser().resolve())
    values = {argument.name: argument.default for argument in REPLAY_ARGUMENTS}
    return values | {
        "bag": bag,
        "task": args.task,
        "robot": args.robot,
        "set": ";".join(args.set),
        "checkpoint": f"{RECORDED}{bag}" if args.policy == "recorded" else args.checkpoint,
        "instruction": args.instruction,
        "remap": ";".join(args.remap),
        "clock": "lockstep" if rate is None else "steady",
        "rate": f"{rate or 1.0:g}",
        "throttle": f"{args.throttle:g}",
        "latency_s": "" if args.latency_ms is None else f"{args.latency_ms * 1e-3:.6f}",
        "closed": "true" if args.closed else "false",
        "against": str(args.against.expanduser().resolve()) if args.against else "",
        "same_weights": "true" if args.policy == "lawam" and not args.checkpoint else "false",
        "tolerance_m": f"{args.tolerance_m:g}",
        "tolerance_rad": f"{args.tolerance_rad:g}",
        "tolerance_command_rad": "" if args.tolerance_command_rad is None else f"{args.tolerance_command_rad:g}",
        "device": args.device,
        "seed": "" if args.seed is None else str(args.seed),
    }


def run_nodes(values: dict[str, str], domain: int | None) -> dict[str, Any]:
    """Start the nodes on a domain of their own, wait for the player, and read its report. Raises what a node names as its reason."""
    from lawam_ros.cli.demo import ProgressLine
    from lawam_ros.cli.domain import ReservedDomain
    from lawam_ros.cli.episodes import raise_if_ended
    from lawam_ros.cli.process_group import ProcessGroup
    from lawam_ros.cli.replay_nodes import replay_nodes

    line = ProgressLine()
    reserved = ReservedDomain(domain)
    variables = bringup.environment("sim", values["clock"]) | {"ROS_DOMAIN_ID": str(reserved.number)}
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="lawam_replay_") as folder:
            path = Path(folder) / "report.json"
            nodes = replay_nodes({**values, "report": str(path)})
            with ProcessGroup(nodes, values["namespace"], variables) as group:
                while group.state("player").running:
                    for node in nodes:
                        if node.name != "player":
                            raise_if_ended(group, node.name)
                    line.show(f"replaying {values['bag']}  {time.monotonic() - started:5.1f} s")
                    time.sleep(_POLL_S)
                line.end(f"replayed in {time.monotonic() - started:.1f} s")
                if not path.is_file():
                    raise_if_ended(group, "player")
                    raise LawamError(f"the player ended without a report; last words: {group.log_tail('player')}")
                report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return report
    finally:
        reserved.release()


def _rate(text: str) -> float | None:
    """None for lock step."""
    if text == "lockstep":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.01 <= rate <= 100.0:
        raise UserMistake(f"--rate: expected lockstep or a number from 0.01 to 100, got {text!r}")
    return rate
