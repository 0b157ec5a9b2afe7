"""``lawam data inspect``: what a dataset folder holds."""

import argparse
import json
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import EXIT_DONE


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("inspect", help="print episodes, frames, features and durations of a dataset")
    parser.add_argument("folder", type=Path, help="LeRobot v3 folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0. Raises UserMistake where the folder is no dataset."""
    from lawam_ros.data.lerobot_reader import LeRobotDataset

    summary = summarise(LeRobotDataset(args.folder))
    print(_as_text(args.folder, summary))
    if args.json:
        print(json.dumps(summary))
    return EXIT_DONE


def summarise(dataset: Any) -> dict[str, Any]:
    """Plain figures of a ``LeRobotDataset``."""
    durations = [episode.length / dataset.fps for episode in dataset.episodes]
    return {
        "episodes": len(dataset),
        "frames": dataset.frames,
        "fps": dataset.fps,
        "robot_type": dataset.info.get("robot_type"),
        "tasks": dataset.tasks,
        "duration_s": {"total": sum(durations), "shortest": min(durations, default=None), "longest": max(durations, default=None)},
        "features": {
            key: {"dtype": feature.get("dtype"), "shape": feature.get("shape"), "names": feature.get("names")}
            for key, feature in dataset.features.items()
        },
        "recipe": dataset.info.get("recipe"),
    }


def _as_text(folder: Path, summary: dict[str, Any]) -> str:
    span = summary["duration_s"]
    lines = [
        f"{folder}: {summary['episodes']} episodes, {summary['frames']} frames at {summary['fps']:g} Hz, robot {summary['robot_type']}",
    ]
    if summary["episodes"]:
        mean = span["total"] / summary["episodes"]
        lines.append(f"duration {span['total']:.0f} s; an episode {span['shortest']:.1f} to {span['longest']:.1f} s, mean {mean:.1f} s")
    lines += [f"task: {task}" for task in summary["tasks"]]
    lines.append("features:")
    for key, feature in summary["features"].items():
        names = feature["names"]
        named = f"  ({', '.join(names)})" if isinstance(names, list) and feature["dtype"] != "video" else ""
        lines.append(f"  {key:28s} {feature['dtype']:8s} {'x'.join(map(str, feature['shape']))}{named}")
    return "\n".join(lines)
