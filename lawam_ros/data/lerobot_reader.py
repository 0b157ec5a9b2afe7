"""Reads LeRobot v3 folders: rows by column, frames by episode. Nothing but the episode table is kept in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.data import lerobot_layout as layout
from lawam_ros.data.video import Frame, read_frames, read_frames_at


@dataclass(frozen=True)
class EpisodeEntry:
    """One row of the episode table: where its rows lie in the whole dataset, its task text, and all columns as stored."""

    index: int
    first_row: int
    length: int
    task: str
    columns: dict[str, Any]


class LeRobotDataset:
    """Read-only view of one dataset folder, by whoever it was written."""

    def __init__(self, root: Path) -> None:
        """Raises UserMistake where the folder is no LeRobot v3 dataset or misses a part."""
        self.root = root
        self.info = layout.read_json(root / layout.INFO_PATH)
        version = str(self.info.get("codebase_version", "?"))
        if not version.startswith("v3."):
            raise UserMistake(f"{root}: expected a LeRobot dataset of version v3, got {version}; convert it first")
        missing = [key for key in ("fps", "features", "data_path", "video_path") if key not in self.info]
        if missing:
            raise UserMistake(f"{root / layout.INFO_PATH}: expected the key(s) {', '.join(missing)}")
        self.fps = float(self.info["fps"])
        self.features: dict[str, Any] = dict(self.info["features"])
        self.tasks = layout.read_tasks(root) if (root / layout.TASKS_PATH).is_file() else []
        self.episodes = self._read_episodes()

    @property
    def video_keys(self) -> list[str]:
        return [key for key, feature in self.features.items() if feature.get("dtype") == "video"]

    @property
    def frames(self) -> int:
        return sum(episode.length for episode in self.episodes)

    def __len__(self) -> int:
        return len(self.episodes)

    def stats(self) -> dict[str, Any]:
        """Content of ``meta/stats.json``."""
        return layout.read_json(self.root / layout.STATS_PATH)

    def column(self, key: str) -> NDArray[Any]:
        """One column over all episodes in order: (F, D), or (F,) for scalars."""
        return np.concatenate([self.rows(episode, [key])[key] for episode in range(len(self.episodes))])

    def rows(self, episode: int, keys: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Columns of one episode, (T, D) or (T,). ``keys``: default every column that is not video."""
        entry = self._entry(episode)
        keys = [key for key, feature in self.features.items() if feature.get("dtype") != "video"] if keys is None else list(keys)
        unknown = [key for key in keys if key not in self.features or key in self.video_keys]
        if unknown:
            raise UserMistake(f"{self.root}: no column {', '.join(unknown)}; the dataset has {', '.join(self.features)}")
        path = self._path("data_path", chunk_index=entry.columns["data/chunk_index"], file_index=entry.columns["data/file_index"])
        if not path.is_file():
            raise UserMistake(f"expected the data file {path}, found none; the dataset is incomplete")
        try:
            table = pq.read_table(path, columns=sorted({*keys, "episode_index"}), filters=[("episode_index", "==", entry.index)])
        except (pa.ArrowInvalid, OSError) as error:
            raise UserMistake(f"{path}: not a readable parquet file ({error}); the dataset is damaged") from error
        if table.num_rows != entry.length:
            raise UserMistake(
                f"{path}: expected {entry.length} rows of episode {entry.index}, got {table.num_rows}; the dataset is damaged"
            )
        return {key: _as_array(table, key) for key in keys}

    def frames_of(self, episode: int, key: str) -> Iterator[Frame]:
        """All frames (H, W, 3) uint8 RGB of one camera of one episode, decoded in one pass."""
        entry, path, from_s = self._video(episode, key)
        return read_frames(path, from_s, entry.length, self.fps)

    def frames_at(self, episode: int, key: str, frame_indices: Sequence[int]) -> list[Frame]:
        """Single frames of one episode, in the order asked for."""
        entry, path, from_s = self._video(episode, key)
        for index in frame_indices:
            if not 0 <= index < entry.length:
                raise UserMistake(f"{self.root}: episode {entry.index} has frames 0 to {entry.length - 1}, asked for {index}")
        return read_frames_at(path, [from_s + index / self.fps for index in frame_indices], self.fps)

    def _video(self, episode: int, key: str) -> tuple[EpisodeEntry, Path, float]:
        if key not in self.video_keys:
            raise UserMistake(f"{self.root}: no camera {key}; the dataset has {', '.join(self.video_keys) or 'none'}")
        entry = self._entry(episode)
        columns = entry.columns
        path = self._path(
            "video_path",
            video_key=key,
            chunk_index=columns[f"videos/{key}/chunk_index"],
            file_index=columns[f"videos/{key}/file_index"],
        )
        return entry, path, float(columns[f"videos/{key}/from_timestamp"])

    def _entry(self, episode: int) -> EpisodeEntry:
        if not 0 <= episode < len(self.episodes):
            raise UserMistake(f"{self.root}: expected an episode from 0 to {len(self.episodes) - 1}, got {episode}")
        return self.episodes[episode]

    def _path(self, pattern: str, **values: Any) -> Path:
        path = (self.root / str(self.info[pattern]).format(**values)).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise UserMistake(f"{self.root}: {pattern} of info.json leads out of the dataset folder ({path}); do not use this dataset")
        return path

    def _read_episodes(self) -> list[EpisodeEntry]:
        files = sorted((self.root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
        rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        rows.sort(key=lambda row: int(row["episode_index"]))
        entries, first = [], 0
        for row in rows:
            task = (row.get("tasks") or [""])[0]
            entries.append(EpisodeEntry(int(row["episode_index"]), first, int(row["length"]), str(task), row))
            first += int(row["length"])
        return entries


def _as_array(table: Any, key: str) -> NDArray[Any]:
    column = table.column(key).combine_chunks()
    if hasattr(column.type, "value_type"):
        return np.asarray(column.flatten()).reshape(table.num_rows, -1)
    return np.asarray(column)
