"""Where things lie in a LeRobot v3 dataset folder and what its JSON files say."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lawam_ros.contract.errors import UserMistake

CODEBASE_VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO_PATH = "meta/info.json"
STATS_PATH = "meta/stats.json"
TASKS_PATH = "meta/tasks.parquet"
MODALITY_PATH = "meta/modality.json"

INDEX_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_TASK_TEXT_COLUMN = "__index_level_0__"


@dataclass(frozen=True)
class VectorFeature:
    """A column; one name per dimension."""

    key: str
    names: tuple[str, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class VideoFeature:
    """A camera stored as video."""

    key: str
    height: int
    width: int


@dataclass(frozen=True)
class Schema:
    """What one dataset records at which rate (Hz), of which robot."""

    robot_type: str
    fps: int
    vectors: tuple[VectorFeature, ...]
    videos: tuple[VideoFeature, ...]


def feature_entries(schema: Schema, codec: str) -> dict[str, Any]:
    """The ``features`` mapping of ``info.json``."""
    entries: dict[str, Any] = {
        video.key: {
            "dtype": "video",
            "shape": [video.height, video.width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": video.height,
                "video.width": video.width,
                "video.channels": 3,
                "video.fps": schema.fps,
                "video.codec": codec,
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "has_audio": False,
            },
        }
        for video in schema.videos
    }
    for vector in schema.vectors:
        entries[vector.key] = {"dtype": vector.dtype, "shape": [len(vector.names)], "names": list(vector.names)}
    for name in INDEX_COLUMNS:
        entries[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    return entries


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step: a reader sees the old or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)


def write_table(path: Path, table: pa.Table) -> None:
    """Replace a parquet file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    pq.write_table(table, part)
    os.replace(part, path)


def read_json(path: Path) -> dict[str, Any]:
    """Raises UserMistake where the file is missing or is not a JSON mapping."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserMistake(f"expected a LeRobot v3 dataset, found no {path}; record one with 'lawam data make'") from error
    except json.JSONDecodeError as error:
        raise UserMistake(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserMistake(f"{path}: expected a JSON mapping, got {type(content).__name__}")
    return content


def tasks_table(texts: Sequence[str]) -> pa.Table:
    """Task texts as the index column of a pandas frame, which is what LeRobot's own loader expects."""
    pandas = {
        "index_columns": [_TASK_TEXT_COLUMN],
        "column_indexes": [
            {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}
        ],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": None},
            {"name": None, "field_name": _TASK_TEXT_COLUMN, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
        ],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(range(len(texts)), pa.int64()), _TASK_TEXT_COLUMN: pa.array(texts, pa.string())})
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def read_tasks(root: Path) -> list[str]:
    """Task texts by index. The text may be the pandas index column or a column named ``task``."""
    path = root / TASKS_PATH
    if not path.is_file():
        raise UserMistake(f"expected the task table {path}, found none; the dataset is incomplete")
    columns = pq.read_table(path).to_pydict()
    text_column = next((name for name in ("task", _TASK_TEXT_COLUMN) if name in columns), None)
    if text_column is None or "task_index" not in columns:
        raise UserMistake(f"{path}: expected the columns task_index and task (or its index), got {', '.join(columns)}")
    pairs = sorted(zip(columns["task_index"], columns[text_column], strict=True))
    return [str(text) for _, text in pairs]
