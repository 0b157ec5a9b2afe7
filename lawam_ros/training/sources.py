"""One dataset in the numbers of one model: normalised vectors, where samples start, and the pictures that belong to them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawam_ros.contract.errors import UserMistake
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.image_preparation import prepare_image
from lawam_ros.training.data_spec import DataSpec
from lawam_ros.training.feature_cache import FrameCache
from lawam_ros.training.frozen_context import FrozenContext
from lawam_ros.training.vectors import Vectors

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


class Pictures(Protocol):
    """Pictures of dataset rows, prepared for the model: uint8 (3, S, S)."""

    def views(self, row: int) -> Tensor:
        """(V, 3, S, S), primary cameras before wrist cameras."""
        ...

    def primary(self, row: int, camera: int) -> Tensor:
        """(3, S, S) of one primary camera."""
        ...

    def features(self, rows: Rows) -> Tensor | None:
        """(B, N, F) float32 frozen features of the first primary camera, None where they are computed in the step."""
        ...


@dataclass(frozen=True)
class CachedPictures:
    """Pictures and features out of a cache on disk."""

    cache: FrameCache

    def views(self, row: int) -> Tensor:
        position = int(np.searchsorted(self.cache.rows.pictures, row))
        return torch.from_numpy(np.array(self.cache.images[position]))

    def primary(self, row: int, camera: int) -> Tensor:
        return self.views(row)[camera]

    def features(self, rows: Rows) -> Tensor | None:
        return torch.from_numpy(self.cache.features_at(rows).astype(np.float32))


@dataclass(frozen=True)
class DecodedPictures:
    """Pictures decoded from the videos when they are asked for."""

    dataset: LeRobotDataset
    first_rows: tuple[int, ...]
    primary_keys: tuple[str, ...]
    wrist_keys: tuple[str, ...]
    image_size: int

    def views(self, row: int) -> Tensor:
        return torch.stack([self._picture(row, key) for key in (*self.primary_keys, *self.wrist_keys)])

    def primary(self, row: int, camera: int) -> Tensor:
        return self._picture(row, self.primary_keys[camera])

    def features(self, rows: Rows) -> Tensor | None:
        return None

    def _picture(self, row: int, key: str) -> Tensor:
        episode = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        frame = self.dataset.frames_at(episode, key, [row - self.first_rows[episode]])[0]
        return prepare_image(frame, self.image_size)


@dataclass(frozen=True)
class Source:
    """A dataset ready for batches.

    starts: rows at which samples begin. future: (F,) row of the future frame of every row. actions (F, n, D), state (F, S): normalised.
    sentences: what may be said, sentence_of: (F,) which of it belongs to a row. teacher: (P, 1, code_dim) latent actions of the starts,
    None where they are computed in the step. weight: of the dataset in a mixture, before its length. context: what the action expert reads
    of the starts, None where it is computed in the step.
    """

    name: str
    starts: Rows
    future: Rows
    actions: Floats
    state: Floats
    pictures: Pictures
    views: tuple[int, int]
    sentences: tuple[str, ...]
    sentence_of: Rows
    embodiment_tag: str
    embodiment_id: int
    action_hz: float
    weight: float = 1.0
    teacher: Tensor | None = None
    context: FrozenContext | None = None

    def sentence(self, start: int) -> str:
        return self.sentences[self.sentence_of[self.starts[start]]]

    def with_teacher(self, teacher: Tensor) -> "Source":
        return replace(self, teacher=teacher)


def check_against_model(spec: DataSpec, vectors: Vectors, fps: float, config: ModelConfig, name: str) -> None:
    """Refuse in one sentence what the model has no room for."""
    flow = config.flow
    steps = vectors.actions.shape[1]
    single = int(np.floor(np.float32(fps) * np.float32(flow.horizon_s)))
    if not 1 <= steps <= flow.action_horizon or steps != single:
        raise UserMistake(
            f"{name}: {flow.horizon_s:g} s at {fps:g} Hz give {steps} steps ({single} in single precision), expected the same 1 to "
            f"{flow.action_horizon} in both; choose another rate or a model with a longer action_horizon"
        )
    widths = (("actions", vectors.actions.shape[-1], flow.action_dim), ("states", vectors.state.shape[-1], flow.state_dim))
    for kind, got, room in widths:
        if got > room and (kind == "actions" or flow.use_state):
            raise UserMistake(f"{name}: expected {kind} of at most {room} dimensions, the model's, got {got}; train a wider model")
    if not 0 <= spec.embodiment_id < flow.num_embodiments:
        raise UserMistake(
            f"{name}: expected an embodiment id of 0 to {flow.num_embodiments - 1}, got {spec.embodiment_id}; give --embodiment"
        )


def sentences_of(dataset: LeRobotDataset) -> tuple[tuple[str, ...], Rows]:
    """Task texts and which of them every row has, by the ``task_index`` column where there is one."""
    if dataset.tasks and "task_index" in dataset.features:
        return tuple(dataset.tasks), np.asarray(dataset.column("task_index"), dtype=np.int64).reshape(-1)
    texts = sorted({entry.task for entry in dataset.episodes})
    rows = [np.full(entry.length, texts.index(entry.task)) for entry in dataset.episodes]
    return tuple(texts), np.concatenate(rows).astype(np.int64)


def episode_loaders(dataset: LeRobotDataset, keys: tuple[str, ...]) -> Iterator[tuple[int, Callable[[], list[Any]]]]:
    """First row of every episode and a function that decodes its videos, one uint8 array (T, H, W, 3) per key."""
    for number, entry in enumerate(dataset.episodes):

        def load(number: int = number) -> list[Any]:
            return [np.stack(list(dataset.frames_of(number, key))) for key in keys]

        yield entry.first_row, load
