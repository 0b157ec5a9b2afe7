"""``lawam data inspect``: what a dataset folder holds."""

import argparse
import json
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import EXIT_DONE, UserMistake

_PLOTTED_EPISODES, _PLOTTED_FRAMES = 2, 6
_JPEG_QUALITY = 65


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("inspect", help="print episodes, frames, features and durations of a dataset")
    parser.add_argument("folder", type=Path, help="LeRobot v3 folder")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw durations, spread of every action component over the episodes and pictures (.png)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0. Raises UserMistake where the folder is no dataset."""
    from lawam_ros.data.lerobot_reader import LeRobotDataset

    if args.plot is not None and args.plot.suffix.lower() not in (".png", ".jpg"):
        raise UserMistake(f"--plot: expected a file name that ends in .png or .jpg, got {args.plot}")
    dataset = LeRobotDataset(args.folder)
    summary = summarise(dataset)
    print(_as_text(args.folder, summary))
    if args.plot is not None:
        if not len(dataset):
            raise UserMistake(f"{args.folder}: expected at least one episode to plot, the dataset is empty")
        _plot(dataset, args.plot)
        print(f"plot: {args.plot}")
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


def _plot(dataset: Any, path: Path) -> None:
    """Components of the action (or of the first numeric column of several rows) and pictures of the first episodes."""
    import cv2
    import numpy as np

    from lawam_ros.viz.dataset_sheet import dataset_sheet

    key = "action" if "action" in dataset.features else "observation.state"
    tracks: dict[str, Any] = {}
    if key in dataset.features:
        columns = [dataset.rows(episode, [key])[key].reshape(dataset.episodes[episode].length, -1) for episode in range(len(dataset))]
        names = dataset.features[key].get("names")
        names = (
            names if isinstance(names, list) and len(names) == columns[0].shape[1] else [f"{key} {i}" for i in range(columns[0].shape[1])]
        )
        tracks = {name: [column[:, i].astype(float) for column in columns] for i, name in enumerate(names)}
    pictures = {}
    for camera in dataset.video_keys:
        for episode in range(min(_PLOTTED_EPISODES, len(dataset))):
            last = dataset.episodes[episode].length - 1
            frames = [round(share * last) for share in np.linspace(0.0, 1.0, _PLOTTED_FRAMES)]
            pictures[f"{camera}, episode {episode}: {dataset.episodes[episode].task}"] = dataset.frames_at(episode, camera, frames)
    sheet = dataset_sheet([episode.length / dataset.fps for episode in dataset.episodes], tracks, pictures)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
        raise UserMistake(f"--plot: {path} could not be written")


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
