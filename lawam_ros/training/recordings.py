"""From dataset folders to sources: reading, statistics of a mixture, splits, and the cache of pictures and features."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.lawam import LatentActionModel
from lawam_ros.training.data_spec import DataSpec, data_spec
from lawam_ros.training.demonstrations import start_rows
from lawam_ros.training.feature_cache import CachedRows, build_cache
from lawam_ros.training.sources import (
    CachedPictures,
    DecodedPictures,
    Pictures,
    Rows,
    Source,
    check_against_model,
    episode_loaders,
    sentences_of,
)
from lawam_ros.training.vectors import Vectors, merged_statistics, normalised, read_vectors


@dataclass(frozen=True)
class Recording:
    """A dataset that was read, still in raw units."""

    dataset: LeRobotDataset
    spec: DataSpec
    vectors: Vectors

    @property
    def name(self) -> str:
        return str(self.dataset.root)


@dataclass(frozen=True)
class Window:
    """Which frames samples are made of. stride: every how many frames of an episode one starts. gap_s: how far ahead the future frame is,
    None: the last frame of the chunk, which is one step short of the horizon."""

    stride: int = 1
    gap_s: float | None = None

    def gap(self, steps: int, fps: float) -> int:
        return steps - 1 if self.gap_s is None else max(1, round(self.gap_s * fps))


def open_recording(root: Path, config: ModelConfig, embodiment: tuple[str, int] | None = None, spec: DataSpec | None = None) -> Recording:
    """Raises UserMistake for folders that are no dataset, hold nothing, or do not fit the model."""
    dataset = LeRobotDataset(root)
    if not len(dataset):
        raise UserMistake(f"{root}: expected at least one episode, got none; record some with 'lawam data make'")
    spec = spec or data_spec(dataset, embodiment)
    vectors = read_vectors(dataset, spec, config.flow.horizon_s)
    check_against_model(spec, vectors, dataset.fps, config, str(root))
    return Recording(dataset, spec, vectors)


def statistics_of(recordings: Sequence[Recording]) -> dict[str, Any]:
    """Content of ``dataset_statistics.json``: one entry per embodiment tag, merged over its datasets."""
    tags = list(dict.fromkeys(recording.spec.embodiment_tag for recording in recordings))
    for tag in tags:
        ids = {recording.spec.embodiment_id for recording in recordings if recording.spec.embodiment_tag == tag}
        if len(ids) != 1:
            raise UserMistake(f"expected one id for embodiment {tag}, the datasets have {sorted(ids)}; give them tags of their own")
    entries = {tag: [r.vectors.statistics for r in recordings if r.spec.embodiment_tag == tag] for tag in tags}
    return {tag: parts[0] if len(parts) == 1 else merged_statistics(parts) for tag, parts in entries.items()}


def make_source(
    recording: Recording, statistics: dict[str, Any], pictures: Pictures, starts: Rows, future: Rows, sentences: tuple[str, ...] = ()
) -> Source:
    """``statistics``: entry of the recording's tag. sentences: said instead of the dataset's own."""
    vectors, spec = recording.vectors, recording.spec
    said, which = sentences_of(recording.dataset) if not sentences else (sentences, np.zeros(len(vectors), dtype=np.int64))
    return Source(
        name=recording.name,
        starts=starts,
        future=future,
        actions=normalised(vectors.actions, statistics["action"], vectors.action_modes),
        state=normalised(vectors.state, statistics["state"], vectors.state_modes),
        pictures=pictures,
        views=(len(spec.primary), len(spec.wrist)),
        sentences=said,
        sentence_of=which,
        embodiment_tag=spec.embodiment_tag,
        embodiment_id=spec.embodiment_id,
        action_hz=recording.dataset.fps,
        weight=spec.weight,
    )


def window_rows(recording: Recording, window: Window) -> tuple[Rows, Rows]:
    """Starts (P,) and the future row of every frame (F,)."""
    vectors = recording.vectors
    gap = window.gap(vectors.actions.shape[1], recording.dataset.fps)
    return start_rows(vectors.episode, window.stride), vectors.ahead(gap)


def decoded_pictures(recording: Recording, config: ModelConfig) -> Pictures:
    firsts = tuple(entry.first_row for entry in recording.dataset.episodes)
    return DecodedPictures(recording.dataset, firsts, recording.spec.primary, recording.spec.wrist, config.image_size)


def cached_pictures(
    recording: Recording,
    config: ModelConfig,
    lam: LatentActionModel,
    starts: Rows,
    future: Rows,
    folder: Path,
    dtype: torch.dtype = torch.float32,
) -> Pictures:
    """Pictures of the starts and features of starts and futures, from ``folder`` or written to it with a progress bar."""
    encoder = lam.vision_encoder
    device = next(encoder.parameters()).device
    if device.type == "cpu":
        encoder.to(memory_format=torch.channels_last)
    keys = (*recording.spec.primary, *recording.spec.wrist)
    if not (folder / "images.npy").is_file():
        _check_room(folder, cache_bytes(recording, config, max(1, recording.dataset.frames // max(1, len(starts)))))
    rows = CachedRows(pictures=starts, features=np.union1d(starts, future[starts]))
    identity = {
        "episodes": [[entry.index, entry.length] for entry in recording.dataset.episodes],
        "recipe": recording.dataset.info.get("recipe"),
        "rows": [len(rows.pictures), len(rows.features), int(rows.features.sum())],
        "cameras": list(keys),
        "encoder": _encoder_identity(config, lam),
        "image_size": config.image_size,
        "features": str(dtype),
    }
    with tqdm(desc=f"features of {recording.dataset.root.name}", unit="frame", mininterval=2.0, total=len(rows.features)) as bar:

        def encode(frames: Tensor) -> Tensor:
            return encoder(frames.to(device))

        cache = build_cache(
            folder,
            rows,
            episode_loaders(recording.dataset, keys),
            encode,
            identity,
            config.image_size,
            lambda done: _advance(bar, done),
            dtype,
        )
    return CachedPictures(cache)


def cache_bytes(recording: Recording, config: ModelConfig, stride: int) -> int:
    """About how much disk a cache of a recording takes."""
    frames = recording.dataset.frames
    views = len(recording.spec.primary) + len(recording.spec.wrist)
    pictures = frames // stride * views * 3 * config.image_size**2
    return pictures + frames * config.flow.num_vision_tokens * config.feature_dim * 4


def free_bytes(folder: Path) -> int:
    """Room on the disk that holds ``folder``, which need not exist yet."""
    return shutil.disk_usage(next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())).free


def _check_room(folder: Path, needed: int) -> None:
    """A full disk would kill the process in the middle of a mapped file, without a word."""
    free = free_bytes(folder)
    if needed > free:
        raise EnvironmentLacks(
            f"{folder}: the cache needs {needed / 2**30:.1f} GB, the disk has {free / 2**30:.1f} GB left; "
            "make room or train with --cache off"
        )


def validation_split(recording: Recording, starts: Rows, tail_ratio: float) -> tuple[Rows, Rows]:
    """Starts of the first episodes and of the last max(1, floor(episodes * tail_ratio)) ones."""
    episodes = len(recording.dataset)
    held = max(1, int(episodes * tail_ratio))
    late = recording.vectors.episode[starts] >= episodes - held
    return starts[~late], starts[late]


def data_hash(recordings: Sequence[Recording]) -> str:
    """SHA-256 over the tables of all datasets and the sizes of their videos."""
    digest = hashlib.sha256()
    for recording in recordings:
        root = recording.dataset.root
        files = [path for part in ("meta", "data", "videos") for path in (root / part).rglob("*") if path.is_file()]
        for path in sorted(files):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes() if path.suffix in (".parquet", ".json") else str(path.stat().st_size).encode())
    return digest.hexdigest()


def _advance(bar: "tqdm[Any]", done: int) -> None:
    bar.update(done - bar.n)


def _encoder_identity(config: ModelConfig, lam: LatentActionModel) -> dict[str, Any]:
    """What a cached feature depends on: a named third-party encoder, or the weights themselves."""
    encoder = lam.vision_encoder
    named = getattr(encoder, "identity", None)
    if named:
        return dict(named)
    sums = {name: float(tensor.double().sum()) for name, tensor in list(encoder.state_dict().items())[:8]}
    return {"config": dict(config.vision_encoder), "sums": sums}
