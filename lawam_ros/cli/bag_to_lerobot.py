"""Demonstrations of recordings as a LeRobot v3 folder."""

import queue
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.cli.frame_rows import EpisodeRows, chains_of, recorded_schema
from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.wire import BadMessage
from lawam_ros.data.bag_cuts import Span, spans_of
from lawam_ros.data.bag_frames import BagFrames
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_streams import BagStreams, bag_streams, picture
from lawam_ros.data.episode_schema import IMAGE_PREFIX, modality_mapping
from lawam_ros.data.lerobot_writer import LeRobotWriter, RecordedEpisode
from lawam_ros.data.recorded_run import RecordedRun, read_run
from lawam_ros.data.statistics import PICTURE_STRIDE, PictureSums
from lawam_ros.data.video import VideoWriter

_MIN_FRAMES = 5
WAITING_PICTURES = 16
"""Of a camera, for its encoder."""


class CameraFilm:
    """Pictures of one camera, encoded in a thread of its own: the encoder leaves the interpreter to others."""

    def __init__(self, path: Path, fps: int, lossless: bool) -> None:
        self.path, self._fps, self._lossless = path, fps, lossless
        self.sums = PictureSums()
        self._pictures: queue.Queue[NDArray[np.uint8] | None] = queue.Queue(WAITING_PICTURES)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._encode, daemon=True)
        self._thread.start()

    def add(self, rgb: NDArray[np.uint8]) -> None:
        self._pictures.put(rgb)

    def close(self) -> None:
        """Raises what went wrong."""
        self._pictures.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _encode(self) -> None:
        writer: VideoWriter | None = None
        count = 0
        while (rgb := self._pictures.get()) is not None:
            if self._error is not None:
                continue  # let whoever adds pictures go on until it asks
            try:
                writer = writer or VideoWriter(self.path, self._fps, rgb.shape[0], rgb.shape[1], self._lossless)
                writer.write(rgb)
                if count % PICTURE_STRIDE == 0:
                    self.sums.add(rgb)
                count += 1
            except Exception as error:
                self._error = error
        if writer is not None:
            writer.close()


class Conversion:
    """Bags one after the other into one dataset.

    total_s: of the recordings so far, as they were cut. episode: what is being converted. skipped: what was left out and why.
    """

    def __init__(
        self, contract: Contract, out: Path, recipe: Mapping[str, Any], cameras: Sequence[str], lossless: bool, resume: bool
    ) -> None:
        self._contract, self._lossless = contract, lossless
        self._fps = round(contract.task.policy.action_hz)
        self._chains = chains_of(contract)
        schema = recorded_schema(contract, cameras)
        modality = modality_mapping(contract.robot)
        modality["video"] = {name: entry for name, entry in modality["video"].items() if name in cameras}
        self.writer = LeRobotWriter(out, schema, modality, recipe, resume=resume)
        self._number = 0
        self.total_s, self.episode = 0.0, ""
        self.skipped: list[tuple[str, str]] = []

    def convert(self, bag: Bag, remap: Mapping[str, str], cut: str, pause_s: float) -> Iterator[float]:
        """Seconds of the recording as they are done; episodes that are there already are done at once."""
        robot = self._contract.robot
        streams = bag_streams(bag.topics, robot, remap)
        run = read_run(bag, streams, robot)
        self.skipped += [(bag.path.name, problem) for problem in run.problems]
        spans = spans_of(bag, streams, run, cut, pause_s)
        if not spans:
            self.skipped.append((bag.path.name, "no time at which all cameras and joint states are there"))
        self.total_s += sum((end_ns - start_ns) * 1e-9 for start_ns, end_ns in spans)
        for index, span in enumerate(spans):
            self.episode, number = f"{bag.path.name}#{index}", self._number
            self._number += 1
            left_s = (span[1] - span[0]) * 1e-9
            if number not in self.writer.seeds:
                for period_s in self._one(bag, streams, run, span, number):
                    yield min(period_s, left_s)
                    left_s -= min(period_s, left_s)
            yield left_s

    def _one(self, bag: Bag, streams: BagStreams, run: RecordedRun, span: Span, number: int) -> Iterator[float]:
        """The period of every frame when it is done."""
        paths = {camera: self.writer.staging_dir / f"{number}_{camera}.mp4" for camera in streams.cameras}
        films = {camera: CameraFilm(path, self._fps, self._lossless) for camera, path in paths.items()}
        rows = EpisodeRows(self._contract, self._chains, span[1])
        try:
            fault = yield from self._film(bag, streams, run, span, rows, films)
        finally:
            for film in films.values():
                film.close()
        if not fault and rows.count < _MIN_FRAMES:
            fault = f"{rows.count} frames, expected at least {_MIN_FRAMES}"
        if fault:
            for path in paths.values():
                path.unlink(missing_ok=True)
            self.skipped.append((self.episode, fault))
            return
        self.writer.add(
            RecordedEpisode(
                seed=number,
                task=run.instruction(*span) or self._contract.task.instruction,
                vectors=rows.columns(),
                videos={IMAGE_PREFIX + camera: film.path for camera, film in films.items()},
                picture_statistics={IMAGE_PREFIX + camera: film.sums.as_mapping() for camera, film in films.items()},
                notes={"source": self.episode},
            )
        )

    def _film(
        self, bag: Bag, streams: BagStreams, run: RecordedRun, span: Span, rows: EpisodeRows, films: Mapping[str, CameraFilm]
    ) -> Generator[float, None, str]:
        """Frames into rows and films as they come; returns what is wrong with them."""
        robot = self._contract.robot
        reader = BagFrames(bag, streams, robot, run, span, self._contract.task.policy.action_hz)
        try:
            for frame in reader:
                for known in rows.add(frame):
                    for camera, message in known.observation.images.items():
                        films[camera].add(picture(bag.decode(message), robot.camera(camera)))
                    yield 1.0 / self._fps
                if rows.complete:
                    break
        except BadMessage as error:
            return str(error)
        except KeyError as missing:
            return f"joint {missing} is not in the joint states"
        return reader.problem


def cameras_of(bag: Bag, contract: Contract, remap: Mapping[str, str]) -> list[str]:
    """Raises UserMistake where the bag lacks what the policy needs."""
    streams = bag_streams(bag.topics, contract.robot, remap)
    policy = contract.task.policy
    missing = streams.missing(contract.robot, policy.primary_cameras + policy.wrist_cameras)
    if missing:
        raise UserMistake(f"{bag.path}: expected {' and '.join(missing)}, found none; name what is called otherwise with --remap")
    return list(streams.cameras)
