"""``lawam convert``: recordings to demonstrations and back, without ROS."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from lawam_ros.cli.given_options import defaults_of, given_options
from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, UserMistake

_FROM_BAGS = ("remap", "cut", "pause_s", "lossless", "resume")
"""What has no meaning with --to bag."""
CUTS = ("auto", "marks", "status", "pause", "whole")
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of the recordings [{elapsed}<{remaining}{postfix}]"
DESCRIPTION = """\
BAG... --to lerobot-v3 cuts recordings into episodes and aligns them at the task's rate, with the code that aligns live observations.
Damaged episodes are skipped and named. FOLDER --to bag writes the episodes of a LeRobot v3 folder as one bag each.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("convert", help="recordings to demonstrations and back", description=DESCRIPTION)
    parser.add_argument("source", type=Path, nargs="+", metavar="SOURCE", help="bags, or one LeRobot v3 folder")
    parser.add_argument("--to", required=True, choices=("lerobot-v3", "bag"), help="what to make of it")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset, or of the bags")
    parser.add_argument("--task", default="", help="task of the recordings; default: what the first bag tells")
    parser.add_argument("--robot", default="", help="robot of the recordings; default: what the first bag tells")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="contract override, behind those of the recording")
    parser.add_argument("--remap", action="append", default=[], metavar="THEIRS:=OURS", help="a topic that the bags call otherwise")
    parser.add_argument(
        "--cut",
        default="auto",
        choices=CUTS,
        help="where episodes begin and end: marks (topic lawam/episode, services recorder/start_episode and so on), status (activations of "
        "the executor), pause (the joints stand), whole; auto takes the first of marks, status and whole that there is",
    )
    parser.add_argument("--pause-s", type=float, default=1.0, help="of --cut pause: how long the joints stand (default: %(default)s)")
    parser.add_argument("--lossless", action="store_true", help="videos that give back every pixel, several times as large")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted dataset in --out")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run, from_bags=defaults_of(parser, _FROM_BAGS), pauses=defaults_of(parser, ("pause_s",)))


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 when nothing could be converted. Raises UserMistake."""
    if args.to == "bag" and (given := given_options(args, args.from_bags)):
        raise UserMistake(f"--to bag takes a dataset, not recordings; leave out {given}")
    if args.cut != "pause" and (given := given_options(args, args.pauses)):
        raise UserMistake(f"{given} says how long a pause is that cuts; add --cut pause, or leave that out")
    if args.pause_s <= 0.0:
        raise UserMistake(f"--pause-s: expected more than 0, got {args.pause_s:g}")
    started = time.monotonic()
    summary = _to_lerobot(args) if args.to == "lerobot-v3" else _to_bags(args)
    summary["wall_s"] = round(time.monotonic() - started, 2)
    for name, reason in summary["skipped"]:
        print(f"left out: {name}: {reason}")
    print(f"{args.out}: {summary['episodes']} episodes, {summary['seconds']:.1f} s, in {summary['wall_s']:.1f} s")
    if args.json:
        print(json.dumps(summary))
    return EXIT_DONE if summary["episodes"] else EXIT_CRITERION_MISSED


def _to_lerobot(args: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    from lawam_ros.cli.bag_to_lerobot import Conversion, cameras_of
    from lawam_ros.data.bag_reader import Bag
    from lawam_ros.data.replay_setup import contract_of, remap_rules, run_info_of

    remap = remap_rules(args.remap)
    with Bag(args.source[0]) as bag:
        contract = contract_of(bag, run_info_of(bag, remap), args.task, args.robot, args.set, remap)
        cameras = cameras_of(bag, contract, remap)
    recipe = {
        "task": contract.task.name,
        "robot": contract.robot.name,
        "contract_crc": contract.crc,
        "sources": [str(source) for source in args.source],
        "cut": args.cut,
        "lossless": args.lossless,
    }
    conversion = Conversion(contract, args.out, recipe, cameras, args.lossless, args.resume)
    try:
        with tqdm(total=0.0, desc="convert", bar_format=_BAR) as progress:
            for source in args.source:
                with Bag(source) as bag:
                    for done_s in conversion.convert(bag, remap, args.cut, args.pause_s):
                        progress.total = conversion.total_s
                        progress.set_postfix_str(conversion.episode, refresh=False)
                        progress.update(min(done_s, progress.total - progress.n))
    finally:
        conversion.writer.close()
    writer = conversion.writer
    seconds = writer.frames / contract.task.policy.action_hz
    return {"out": str(args.out), "episodes": writer.episodes, "seconds": round(seconds, 3), "skipped": conversion.skipped}


def _to_bags(args: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    from lawam_ros.cli.lerobot_to_bag import write_bags
    from lawam_ros.contract.load import load_contract
    from lawam_ros.data.lerobot_reader import LeRobotDataset

    if len(args.source) != 1:
        raise UserMistake(f"--to bag: expected one LeRobot v3 folder, got {len(args.source)} sources")
    dataset = LeRobotDataset(args.source[0])
    recipe = dataset.info.get("recipe") or {}
    task = args.task or str(recipe.get("task", ""))
    if not task:
        raise UserMistake(f"{args.source[0]} does not say which task it is of; name it with --task")
    contract = load_contract(task, args.robot or recipe.get("robot") or None, args.set)
    bags = list(tqdm(write_bags(dataset, contract, args.out), total=len(dataset), unit="episode", desc="convert"))
    return {"out": str(args.out), "episodes": len(bags), "seconds": round(dataset.frames / dataset.fps, 3), "skipped": []}
