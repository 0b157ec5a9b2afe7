"""Prepared pictures and frozen features on disk, so that training decodes no video and runs the vision encoder once per frame.

A cache folder holds one array file per kind, written episode after episode, and a small JSON that says how far it is: a kill costs at most
one episode of work.
"""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from lawam_ros.data.lerobot_layout import write_json
from lawam_ros.model.image_preparation import prepare_image

ENCODE_BATCH = 2
"""Frames per call of the encoder. Convolutions on a CPU are fastest while their maps stay in the cache of a core."""

_PROGRESS = "progress.json"

Frames = NDArray[np.uint8]
Features = NDArray[np.floating[Any]]
Encode = Callable[[Tensor], Tensor]
"""uint8 frames (B, 3, S, S) to features (B, tokens, width)."""


@dataclass(frozen=True)
class CachedRows:
    """Which rows of a dataset are kept, both rising: features are needed of more rows than pictures, because futures have features only."""

    pictures: NDArray[np.int64]
    features: NDArray[np.int64]


@dataclass(frozen=True)
class FrameCache:
    """images: uint8 (P, views, 3, S, S), primary views first, of the picture rows. features: float16 or float32 (K, tokens, width) of the
    first primary view of the feature rows. Both are read-only maps of files."""

    rows: CachedRows
    images: Frames
    features: Features

    def features_at(self, rows: NDArray[np.int64]) -> Features:
        """Features of dataset rows. Raises ValueError for a row that is not cached."""
        position = np.searchsorted(self.rows.features, rows)
        if not np.array_equal(self.rows.features[np.minimum(position, len(self.rows.features) - 1)], rows):
            raise ValueError("features were asked for of rows that are not cached")
        return np.asarray(self.features[position])


def build_cache(
    folder: Path,
    rows: CachedRows,
    episodes: Iterable[tuple[int, Callable[[], list[Frames]]]],
    encode: Encode,
    identity: dict[str, Any],
    image_size: int,
    report: Callable[[int], None],
    dtype: torch.dtype = torch.float16,
) -> FrameCache:
    """Fill the cache, or go on where a killed run stopped, and open it.

    episodes: first row and loader of each episode in order; a loader returns one uint8 array (T, H, W, 3) per view. ``identity`` says
    what the cache was made from and with; a cache of something else is made again. dtype: of the features; float32
    keeps them exact. ``report`` is told the number of finished feature rows. Frames are encoded by as many threads as torch may use, one
    each: small convolutions do not split well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = _finished_episodes(folder, identity)
    files, threads = _ArrayFiles(folder, rows, resume=done > 0), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            for number, (first, load) in enumerate(episodes):
                count = 0
                if number >= done:
                    count = _write_episode(files, rows, first, load(), encode, image_size, pool, dtype)
                    files.flush()
                    write_json(folder / _PROGRESS, {"identity": identity, "episodes": number + 1})
                    report(int(np.searchsorted(rows.features, first + count)))
    finally:
        torch.set_num_threads(threads)
    return FrameCache(rows, np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "features.npy", mmap_mode="r"))


def _write_episode(
    files: "_ArrayFiles",
    rows: CachedRows,
    first: int,
    views: list[Frames],
    encode: Encode,
    image_size: int,
    pool: ThreadPoolExecutor,
    dtype: torch.dtype,
) -> int:
    count = len(views[0])

    def features(positions: NDArray[np.int64]) -> Features:
        frames = torch.stack([prepare_image(views[0][rows.features[position] - first], image_size) for position in positions])
        with torch.inference_mode():
            return encode(frames).to(dtype).cpu().numpy()

    def picture(position: int) -> Frames:
        return torch.stack([prepare_image(view[rows.pictures[position] - first], image_size) for view in views]).numpy()

    wanted = np.arange(*np.searchsorted(rows.features, [first, first + count]))
    parts = np.array_split(wanted, -(-len(wanted) // ENCODE_BATCH))
    for part, values in zip(parts, pool.map(features, parts), strict=True):
        files.put_features(part, values)
    pictures = range(*np.searchsorted(rows.pictures, [first, first + count]))
    for position, views_of_one in zip(pictures, pool.map(picture, pictures), strict=True):
        files.put_picture(position, views_of_one)
    return count


class _ArrayFiles:
    """The two array files; they are created when the first values tell their shapes."""

    def __init__(self, folder: Path, rows: CachedRows, resume: bool) -> None:
        self._folder, self._rows = folder, rows
        self._images = open_memmap(folder / "images.npy", mode="r+") if resume else None
        self._features = open_memmap(folder / "features.npy", mode="r+") if resume else None

    def put_features(self, positions: NDArray[np.int64], features: Features) -> None:
        if self._features is None:
            self._features = self._create("features.npy", len(self._rows.features), features[0])
        self._features[positions] = features

    def put_picture(self, position: int, views: Frames) -> None:
        if self._images is None:
            self._images = self._create("images.npy", len(self._rows.pictures), views)
        self._images[position] = views

    def _create(self, name: str, count: int, example: NDArray[Any]) -> "np.memmap[Any, Any]":
        return open_memmap(self._folder / name, mode="w+", dtype=example.dtype, shape=(count, *example.shape))

    def flush(self) -> None:
        for array in (self._images, self._features):
            if array is not None:
                array.flush()


def _finished_episodes(folder: Path, identity: dict[str, Any]) -> int:
    file = folder / _PROGRESS
    if not file.is_file():
        return 0
    progress = json.loads(file.read_text(encoding="utf-8"))
    return int(progress["episodes"]) if progress["identity"] == json.loads(json.dumps(identity)) else 0
