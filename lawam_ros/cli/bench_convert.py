"""``lawam bench convert``: how long recordings take to become demonstrations, and demonstrations recordings."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, EnvironmentLacks, LawamError, UserMistake
from lawam_ros.contract.load import Contract, load_contract
from lawam_ros.contract.robot import COMPRESSED

SHARE_MARK = 0.25
IMAGES = ("jpeg", "raw")
TASK, WIDTH, HEIGHT, CAMERA_HZ = "franka_pick_place", 640, 480, 30.0
_DESCRIPTION = """\
A made-up recording of an arm with two 640x480 cameras at 30 Hz (detail, motion and noise of real pictures; JPEG or raw), joint states at
125 Hz and commands at 250 Hz goes through `lawam convert --to lerobot-v3` in a process of its own, start of the program included, at
--action-hz frames a second; the dataset goes back through `--to bag`. Wall time, processor time of all threads, largest memory.
Mark: to LeRobot in a quarter of the recording's length.
"""


@dataclass(frozen=True)
class Timing:
    """One call of ``lawam convert``. share: of wall time in the length of the recording."""

    images: str
    to: str
    wall_s: float
    cpu_s: float
    share: float
    memory_mb: float
    megabytes: float


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "convert",
        help="time from recordings to demonstrations and back",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the recording (default: %(default)s)")
    parser.add_argument("--images", default="jpeg,raw", metavar="KIND,KIND", help="how it holds images (default: %(default)s)")
    parser.add_argument("--action-hz", type=float, default=30.0, help="frames a second of the dataset (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work: 140 MB are needed per second (default: a temporary one)")
    parser.add_argument("--require", action="store_true", help="exit code 1 where the mark is missed")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 1 with ``--require`` where the mark is missed. Raises UserMistake and EnvironmentLacks."""
    from tqdm import tqdm

    kinds = [kind.strip() for kind in args.images.split(",")]
    if not 5.0 <= args.seconds <= 600.0 or not set(kinds) <= set(IMAGES):
        raise UserMistake(f"expected --seconds from 5 to 600 and --images of {', '.join(IMAGES)}, got {args.seconds:g} and {args.images}")
    if args.folder is not None and not args.folder.is_dir():
        raise UserMistake(f"--folder: expected a folder, got {args.folder}")
    timings: list[Timing] = []
    with tempfile.TemporaryDirectory(prefix="lawam_bench_", dir=args.folder) as name, tqdm(total=3 * len(kinds), leave=False) as bar:
        folder = Path(name)
        for kind in kinds:
            overrides = _overrides(kind, args.action_hz)
            bar.set_description(f"{kind}: recording")
            write_bag(folder / "bag", load_contract(TASK, overrides=overrides), args.seconds)
            bar.update()
            for to, source, out in (("lerobot-v3", "bag", "set"), ("bag", "set", "bags")):
                bar.set_description(f"{kind}: to {to}")
                timings.append(_timed(kind, to, folder / source, folder / out, overrides, args.seconds))
                bar.update()
            for part in ("bag", "set", "bags"):
                shutil.rmtree(folder / part)
    marks = [
        {
            "mark": f"{one.images} to {one.to}, share of the recording's length",
            "limit": SHARE_MARK,
            "value": one.share,
            "met": one.share <= SHARE_MARK,
        }
        for one in timings
        if one.to == "lerobot-v3"
    ]
    report = {
        "machine": {"cpus": os.cpu_count(), "load_average_1_min": os.getloadavg()[0]},
        "recording": {"seconds": args.seconds, "cameras": 2, "width": WIDTH, "height": HEIGHT, "camera_hz": CAMERA_HZ},
        "action_hz": args.action_hz,
        "timings": [asdict(one) for one in timings],
        "marks": marks,
    }
    print(as_text(report))
    if args.json:
        print(json.dumps(report))
    return EXIT_CRITERION_MISSED if args.require and not all(mark["met"] for mark in marks) else EXIT_DONE


def write_bag(folder: Path, contract: Contract, seconds: float) -> None:
    """The made-up recording. Raises EnvironmentLacks where the disk has no room for it and for what is made of it."""
    from lawam_ros.cli.synthetic_recording import write_recording

    needed = 2.5 * seconds * sum(camera.rate_hz * camera.width * camera.height * 3 for camera in contract.robot.cameras)
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise EnvironmentLacks(
            f"expected {needed / 1e9:.1f} GB of room in {folder.parent}, found {free / 1e9:.1f}; choose another --folder or fewer --seconds"
        )
    for _ in write_recording(folder, contract, seconds):
        pass


def _overrides(kind: str, action_hz: float) -> list[str]:
    fields = {"width": WIDTH, "height": HEIGHT, "rate_hz": CAMERA_HZ}
    cameras = load_contract(TASK).robot.cameras
    found = [f"robot.cameras.{camera.name}.{key}={value}" for camera in cameras for key, value in fields.items()]
    if kind == "jpeg":
        found += [f"robot.cameras.{camera.name}.topic={camera.topic}{COMPRESSED}" for camera in cameras]
    return [*found, f"task.policy.action_hz={action_hz:g}"]


def _timed(kind: str, to: str, source: Path, out: Path, overrides: Sequence[str], seconds: float) -> Timing:
    call = [sys.executable, "-m", "lawam_ros.cli.main", "convert", str(source), "--to", to, "--out", str(out), "--task", TASK]
    call += [f"--set={override}" for override in overrides]
    log = out.with_suffix(".log")
    began_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(call, stdout=output, stderr=output)
        # Unlike wait(), it tells what the process has used.
        _, status, used = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise LawamError(f"lawam convert ended with {process.returncode}: {log.read_text(errors='replace')[-500:]}")
    return Timing(
        images=kind,
        to=to,
        wall_s=round(wall_s, 2),
        cpu_s=round(used.ru_utime + used.ru_stime, 2),
        share=round(wall_s / seconds, 4),
        memory_mb=round(used.ru_maxrss * 1024 / 1e6),
        megabytes=round(sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6, 1),
    )


def as_text(report: dict[str, Any]) -> str:
    """The report as a table for people."""
    lines = [f"{'images':<7} {'to':<11} {'wall s':>8} {'cpu s':>8} {'of length':>10} {'memory MB':>10} {'result MB':>10}"]
    for one in report["timings"]:
        lines.append(
            f"{one['images']:<7} {one['to']:<11} {one['wall_s']:>8.1f} {one['cpu_s']:>8.1f} {one['share']:>10.2f} "
            f"{one['memory_mb']:>10.0f} {one['megabytes']:>10.1f}"
        )
    lines += [f"load average {report['machine']['load_average_1_min']:.1f} on {report['machine']['cpus']} CPUs"]
    lines += [
        f"{'met' if mark['met'] else 'MISSED'}: {mark['mark']}: {mark['value']:.2f} (limit {mark['limit']:g})" for mark in report["marks"]
    ]
    return "\n".join(lines)
