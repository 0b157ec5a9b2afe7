"""A LeRobot folder of one-arm demonstrations as the tables and caches training reads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.task import PolicyContract
from lawam_ros.data.action_space import ABSOLUTE_WIDTH, state_width
from lawam_ros.data.episode_schema import ACTION, IMAGE_PREFIX, REFERENCE, STATE
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.training.feature_cache import CachedRows, Encode, FrameCache, Frames, build_cache
from lawam_ros.training.samples import Chunks, FrameTable, build_chunks


@dataclass(frozen=True)
class Demonstrations:
    """One dataset ready for training. Row numbers count frames over all episodes; samples start at ``starts``, whose pictures lie
    in the same order in ``cache.images``."""

    table: FrameTable
    chunks: Chunks
    cache: FrameCache
    episodes: int

    @property
    def starts(self) -> NDArray[np.int64]:
        return self.cache.rows.pictures


def read_table(dataset: LeRobotDataset, policy: PolicyContract) -> FrameTable:
    """Columns of a dataset recorded for ``policy``. Raises UserMistake where rate, cameras or columns do not fit."""
    if dataset.fps != policy.action_hz:
        raise UserMistake(f"{dataset.root}: expected {policy.action_hz:g} frames per second as the task's action_hz, got {dataset.fps:g}")
    missing = [key for key in camera_keys(policy) if key not in dataset.video_keys]
    if missing:
        raise UserMistake(f"{dataset.root}: expected the cameras {', '.join(missing)}, the dataset has {', '.join(dataset.video_keys)}")
    widths = {STATE: state_width(policy.state), REFERENCE: ABSOLUTE_WIDTH, ACTION: ABSOLUTE_WIDTH}
    columns = {key: _column(dataset, key, width) for key, width in widths.items()}
    episode = np.repeat(np.arange(len(dataset)), [entry.length for entry in dataset.episodes])
    return FrameTable(columns[STATE], columns[REFERENCE], columns[ACTION], episode)


def camera_keys(policy: PolicyContract) -> list[str]:
    """Video columns in prompt order, primary cameras first."""
    return [IMAGE_PREFIX + name for name in (*policy.primary_cameras, *policy.wrist_cameras)]


def start_rows(table: FrameTable, stride: int) -> NDArray[np.int64]:
    """Every ``stride``-th frame of every episode."""
    first = np.searchsorted(table.episode, table.episode, side="left")
    return np.flatnonzero((np.arange(len(table)) - first) % stride == 0)


def load_demonstrations(
    root: Path,
    policy: PolicyContract,
    stride: int,
    cache_folder: Path,
    encode: Encode,
    encoder_identity: dict[str, Any],
    image_size: int,
    report: Callable[[int, int], None],
) -> Demonstrations:
    """Read a dataset and fill its cache. ``report(done, total)`` is told how many frames are cached."""
    dataset = LeRobotDataset(root)
    if not len(dataset):
        raise UserMistake(f"{root}: expected at least one episode, got none; record some with 'lawam data make'")
    table = read_table(dataset, policy)
    chunks, starts = build_chunks(table, policy.steps, policy.action), start_rows(table, stride)
    rows = CachedRows(pictures=starts, features=np.union1d(starts, chunks.future_row[starts]))
    identity = {
        "episodes": [[entry.index, entry.length] for entry in dataset.episodes],
        "recipe": dataset.info.get("recipe"),
        "stride": stride,
        "steps": policy.steps,
        "cameras": camera_keys(policy),
        "encoder": encoder_identity,
        "image_size": image_size,
    }
    cache = build_cache(
        cache_folder,
        rows,
        _loaders(dataset, camera_keys(policy)),
        encode,
        identity,
        image_size,
        lambda done: report(done, len(rows.features)),
    )
    return Demonstrations(table, chunks, cache, len(dataset))


def _loaders(dataset: LeRobotDataset, keys: list[str]) -> Iterator[tuple[int, Callable[[], list[Frames]]]]:
    for episode, entry in enumerate(dataset.episodes):

        def load(number: int = episode) -> list[Frames]:
            return [np.stack(list(dataset.frames_of(number, key))) for key in keys]

        yield entry.first_row, load


def _column(dataset: LeRobotDataset, key: str, width: int) -> NDArray[np.float64]:
    if key not in dataset.features:
        raise UserMistake(f"{dataset.root}: expected the column {key}, the dataset has {', '.join(dataset.features)}")
    column = np.asarray(dataset.column(key), dtype=float)
    if column.ndim != 2 or column.shape[1] != width:
        raise UserMistake(f"{dataset.root}: expected {width} numbers in {key} (one arm), got shape {column.shape[1:]}")
    if not np.all(np.isfinite(column)):
        raise UserMistake(f"{dataset.root}: {key} holds NaN or infinity; record the dataset again")
    return column
