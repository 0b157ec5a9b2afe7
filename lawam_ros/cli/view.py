"""``lawam view``: a recorded run as a film and a page that can be read without any of this installed."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawam_ros.contract.errors import EXIT_DONE, UserMistake

if TYPE_CHECKING:
    from lawam_ros.cli.bag_scene import BagScene
    from lawam_ros.contract.load import Contract
    from lawam_ros.data.recorded_run import RecordedRun

_DESCRIPTION = """\
Renders a recording: run.mp4 shows every camera with the path of the chunk in it, the subgoal's heatmap and the change map; index.html holds
the film and plots of joints, chunk latency, seams, holds and stops, and progress towards the subgoal. Needs neither ROS nor a display.
Bags of other software are read too: topics are found by the robot file's names or --remap.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("view", help="render a recording to a film and a page", description=_DESCRIPTION)
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder of rosbag2, or one of its .mcap or .db3 files")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="folder of the page; default: BAG_view beside the bag")
    parser.add_argument("--no-video", action="store_true", help="plots only, which is quicker")
    parser.add_argument("--fps", type=int, default=10, help="pictures per second of the film (default: %(default)s)")
    parser.add_argument("--task", default="", help="task of the recording; default: what the bag tells")
    parser.add_argument("--robot", default="", help="robot of the recording; default: what the bag tells")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="contract override, behind those of the recording")
    parser.add_argument(
        "--remap", action="append", default=[], metavar="THEIRS:=OURS", help="a topic that the bag calls otherwise than the robot file"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lawam_ros.cli.bag_scene import BagScene
    from lawam_ros.data.bag_reader import Bag
    from lawam_ros.data.bag_streams import bag_streams
    from lawam_ros.data.recorded_run import read_run
    from lawam_ros.data.replay_setup import contract_of, remap_rules, run_info_of

    if not 1 <= args.fps <= 60:
        raise UserMistake(f"--fps: expected 1 to 60, got {args.fps}")
    out = args.out or args.bag.with_name(f"{args.bag.stem}_view")
    remap = remap_rules(args.remap)
    with Bag(args.bag) as bag:
        contract = contract_of(bag, run_info_of(bag, remap), args.task, args.robot, args.set, remap)
        recorded = read_run(bag, bag_streams(bag.topics, contract.robot, remap), contract.robot)
        scene = BagScene(bag, contract, remap)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserMistake(f"--out {out}: cannot be created ({error.strerror}); choose another folder") from error
        messages = sum(topic.count for topic in bag.topics.values() if topic.name in scene.topics)
        film = _film(scene, messages, None if args.no_video else out / "run.mp4", args.fps, contract.task.instruction)
    page = out / "index.html"
    page.write_text(_page(args.bag.stem, contract, recorded, scene, film), encoding="utf-8")
    print("\n".join(str(path) for path in (page, film) if path))
    return EXIT_DONE


def _film(scene: "BagScene", messages: int, path: Path | None, fps: int, instruction: str) -> Path | None:
    """Plays the bag, and films it where a path is given; the path where there was something to film."""
    from tqdm import tqdm

    from lawam_ros.data.video import VideoWriter
    from lawam_ros.viz.film_frame import film_frame

    writer, first_ns = None, 0
    with tqdm(total=messages, unit=" messages", desc="reading", disable=None) as bar:
        try:
            for stamp_ns in scene.frames(fps, with_images=path is not None, on_message=bar.update):
                first_ns = first_ns or stamp_ns
                picture = film_frame(scene.tiles(), _caption(scene, (stamp_ns - first_ns) * 1e-9, instruction))
                if writer is None and path is not None:
                    writer = VideoWriter(path, fps, *picture.shape[:2])
                assert writer is not None
                writer.write(picture)
        finally:
            if writer is not None:
                writer.close()
    return path if writer is not None else None


def _caption(scene: "BagScene", time_s: float, instruction: str) -> str:
    status = scene.status
    state = f"{status.state} {status.reason}".strip() if status else "no status"
    distance = f"distance to subgoal {scene.distances[-1][1]:.2f}" if scene.distances else ""
    return f"{time_s:6.1f} s   {state}   {status.instruction if status else instruction}   {distance}"


def _page(title: str, contract: "Contract", recorded: "RecordedRun", scene: "BagScene", film: Path | None) -> str:
    from lawam_ros.cli.run_curves import figures, run_curves, stops
    from lawam_ros.viz.run_page import run_page
    from lawam_ros.viz.run_plots import chunk_plot, joint_plot, progress_plot

    curves = run_curves(contract, recorded, scene.distances, scene.measured)
    plots = [
        ("Chunks", "Above: from an observation to the first command of its chunk. Below: how far the new chunk's target lies from the old "
         "one's at the instant it takes over; the executor joins them smoothly.", chunk_plot(curves)),
        ("Progress", "Share of the foreseen change that is still to come: 1 at the observation a subgoal was predicted from, 0 when it has "
         "come about. A line that stays at 1 is a policy that does not get what it foresees.", progress_plot(curves)),
        ("Joints", "Commanded after all limits, over measured.", joint_plot(curves)),
    ]  # fmt: skip
    problems: Sequence[str] = [*recorded.problems, *sorted(scene.problems)]
    facts = {"task": contract.task.name, "robot": contract.robot.name, **{name: str(value) for name, value in recorded.info.items()}}
    video = film.name if film else None
    return run_page(f"Run {title}", facts, figures(recorded, curves), video, plots, stops(recorded), problems)
