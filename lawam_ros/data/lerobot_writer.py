"""Writes the smallest valid LeRobot v3 folder, one data file and one video file per camera and episode.

An episode becomes visible when its row enters the episode table, which is replaced in one step after its files are complete: a killed
recording leaves a readable dataset of whole episodes, and ``resume`` goes on from there.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.data import lerobot_layout as layout
from lawam_ros.data.lerobot_layout import Schema
from lawam_ros.data.statistics import column_statistics, combine_picture_statistics
from lawam_ros.data.video import available_encoder

_EPISODES_FILE = layout.EPISODES_PATH.format(chunk_index=0, file_index=0)
_STAGING = ".staging"


@dataclass(frozen=True)
class RecordedEpisode:
    """One finished episode.

    vectors: feature key -> (T, D). videos: feature key -> finished video file, moved into the dataset. picture_statistics: feature key ->
    ``PictureSums.as_mapping()``. seed: what the episode was made from. notes: further columns of the episode table.
    """

    seed: int
    task: str
    vectors: dict[str, NDArray[Any]]
    videos: dict[str, Path]
    picture_statistics: dict[str, dict[str, list[float]]]
    notes: Mapping[str, str]


class LeRobotWriter:
    """Appends episodes to one dataset folder."""

    def __init__(self, root: Path, schema: Schema, modality: Mapping[str, Any], recipe: Mapping[str, Any], resume: bool = False) -> None:
        """recipe: how the data are made; stored in ``info.json``, must be the same when resuming.

        Raises UserMistake where the folder already holds something and ``resume`` is off, or where it holds a dataset of another recipe.
        """
        self._root, self._schema, self._recipe = root, schema, dict(recipe)
        self._rows: list[dict[str, Any]] = []
        self._tasks: list[str] = []
        if root.exists() and not root.is_dir():
            raise UserMistake(f"expected a folder for the dataset, {root} is a file; choose another --out")
        holds_something = root.is_dir() and any(path.name != _STAGING for path in root.iterdir())
        if holds_something and not resume:
            raise UserMistake(f"{root} is not empty; add --resume to go on with the dataset in it, or choose another --out")
        if holds_something:
            self._take_up()
        layout.write_json(root / layout.MODALITY_PATH, modality)
        self._write_info()
        shutil.rmtree(self.staging_dir, ignore_errors=True)
        self.staging_dir.mkdir(parents=True)

    @property
    def staging_dir(self) -> Path:
        """Where unfinished videos are written: on the dataset's file system, invisible to readers, emptied at the start."""
        return self._root / _STAGING

    @property
    def seeds(self) -> set[int]:
        """Seeds of the episodes the dataset holds."""
        return {int(row["seed"]) for row in self._rows}

    @property
    def episodes(self) -> int:
        return len(self._rows)

    @property
    def frames(self) -> int:
        return int(sum(row["length"] for row in self._rows))

    def add(self, episode: RecordedEpisode) -> None:
        """Store one episode. Raises ValueError where its columns do not fit the schema."""
        length = self._checked_length(episode)
        index = self.episodes
        where = {"chunk_index": index // layout.FILES_PER_CHUNK, "file_index": index % layout.FILES_PER_CHUNK}
        for key, video in episode.videos.items():
            target = self._root / layout.VIDEO_PATH.format(video_key=key, **where)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(video, target)
        if episode.task not in self._tasks:
            self._tasks.append(episode.task)
            layout.write_table(self._root / layout.TASKS_PATH, layout.tasks_table(self._tasks))
        layout.write_table(self._root / layout.DATA_PATH.format(**where), self._data_table(episode, length, index))
        self._rows.append(self._episode_row(episode, length, index, where))
        layout.write_table(self._root / _EPISODES_FILE, pa.Table.from_pylist(self._rows))
        self._write_info()

    def close(self) -> None:
        """Statistics over all episodes, and the end of the staging folder. A dataset never closed reads well, but has no ``stats.json``."""
        shutil.rmtree(self.staging_dir, ignore_errors=True)
        if not self._rows:
            return
        stats: dict[str, Any] = {}
        for video in self._schema.videos:
            parts = [{name: row[f"stats/{video.key}/{name}"] for name in ("min", "max", "mean", "std", "count")} for row in self._rows]
            stats[video.key] = combine_picture_statistics(parts)
        for vector in self._schema.vectors:
            stats[vector.key] = column_statistics(self._column(vector.key))
        layout.write_json(self._root / layout.STATS_PATH, stats)

    def _column(self, key: str) -> NDArray[np.float64]:
        files = [
            self._root / layout.DATA_PATH.format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
            for row in self._rows
        ]
        return np.concatenate([np.array(pq.read_table(file, columns=[key]).column(key).to_pylist(), dtype=float) for file in files])

    def _checked_length(self, episode: RecordedEpisode) -> int:
        expected = {vector.key: len(vector.names) for vector in self._schema.vectors}
        got = {key: values.shape[1] if values.ndim == 2 else 0 for key, values in episode.vectors.items()}
        if got != expected:
            raise ValueError(f"episode of seed {episode.seed}: expected columns {expected}, got {got}")
        cameras = {video.key for video in self._schema.videos}
        if set(episode.videos) != cameras or set(episode.picture_statistics) != cameras:
            raise ValueError(
                f"episode of seed {episode.seed}: expected videos and statistics of {sorted(cameras)}, got {sorted(episode.videos)}"
            )
        lengths = {len(values) for values in episode.vectors.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"episode of seed {episode.seed}: expected columns of one length, got {sorted(lengths)}")
        if not all(np.all(np.isfinite(values)) for values in episode.vectors.values()):
            raise ValueError(f"episode of seed {episode.seed}: expected finite numbers")
        return lengths.pop()

    def _data_table(self, episode: RecordedEpisode, length: int, index: int) -> pa.Table:
        first = self.frames
        columns: dict[str, pa.Array] = {}
        for vector in self._schema.vectors:
            values = np.ascontiguousarray(episode.vectors[vector.key], dtype=np.dtype(vector.dtype))
            columns[vector.key] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        steps = np.arange(length)
        columns["timestamp"] = pa.array((steps / self._schema.fps).astype(np.float32))
        columns["frame_index"] = pa.array(steps)
        columns["episode_index"] = pa.array(np.full(length, index))
        columns["index"] = pa.array(first + steps)
        columns["task_index"] = pa.array(np.full(length, self._tasks.index(episode.task)))
        return pa.table(columns)

    def _episode_row(self, episode: RecordedEpisode, length: int, index: int, where: Mapping[str, int]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [episode.task],
            "length": length,
            "seed": episode.seed,
            **episode.notes,
            "data/chunk_index": where["chunk_index"],
            "data/file_index": where["file_index"],
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for video in self._schema.videos:
            row[f"videos/{video.key}/chunk_index"] = where["chunk_index"]
            row[f"videos/{video.key}/file_index"] = where["file_index"]
            row[f"videos/{video.key}/from_timestamp"] = 0.0
            row[f"videos/{video.key}/to_timestamp"] = length / self._schema.fps
            row.update({f"stats/{video.key}/{name}": values for name, values in episode.picture_statistics[video.key].items()})
        for vector in self._schema.vectors:
            statistics = column_statistics(episode.vectors[vector.key])
            row.update({f"stats/{vector.key}/{name}": values for name, values in statistics.items()})
        return row

    def _write_info(self) -> None:
        _, codec, _ = available_encoder()
        info = {
            "codebase_version": layout.CODEBASE_VERSION,
            "robot_type": self._schema.robot_type,
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self._schema.fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH,
            "features": layout.feature_entries(self._schema, codec),
            "recipe": self._recipe,
        }
        layout.write_json(self._root / layout.INFO_PATH, info)

    def _take_up(self) -> None:
        info = layout.read_json(self._root / layout.INFO_PATH)
        if info.get("recipe") != self._recipe:
            raise UserMistake(
                f"{self._root} was recorded with another recipe ({info.get('recipe')}), wanted {self._recipe}; "
                "resume with the same arguments or choose another --out"
            )
        _, codec, _ = available_encoder()
        if info.get("features") != layout.feature_entries(self._schema, codec):
            raise UserMistake(f"{self._root} records other features than this version would; choose another --out")
        if (self._root / _EPISODES_FILE).is_file():
            self._rows = pq.read_table(self._root / _EPISODES_FILE).to_pylist()
            self._tasks = layout.read_tasks(self._root)
