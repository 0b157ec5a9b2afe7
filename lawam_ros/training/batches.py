"""Batches of both stages out of demonstrations: everything is drawn by the generator of the step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.training.demonstrations import Demonstrations
from lawam_ros.training.samples import normalise, pad_last
from lawam_ros.training.stage1 import WorldModelBatch
from lawam_ros.training.stage2 import PolicyBatch

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class BatchSource:
    """Demonstrations in the numbers of one model.

    actions: (F, N, action_dim) normalised and padded; state: (F, state_dim) likewise. state_dims, action_dims: real dimensions.
    """

    demonstrations: Demonstrations
    actions: Tensor
    state: Tensor
    action_dims: int
    state_dims: int
    views: tuple[int, int]
    embodiment_id: int
    action_hz: float


def batch_source(
    demonstrations: Demonstrations,
    statistics: dict[str, Any],
    widths: tuple[int, int],
    views: tuple[int, int],
    embodiment_id: int,
    action_hz: float,
) -> BatchSource:
    """``statistics``: entry of one embodiment tag. widths: (action_dim, state_dim) of the model. views: numbers of primary and of
    wrist views."""
    chunks = demonstrations.chunks
    return BatchSource(
        demonstrations,
        torch.from_numpy(pad_last(normalise(chunks.actions, statistics["action"]), widths[0])),
        torch.from_numpy(pad_last(normalise(chunks.state, statistics["state"]), widths[1])),
        chunks.actions.shape[-1],
        chunks.state.shape[-1],
        views,
        embodiment_id,
        action_hz,
    )


def world_model_batch(source: BatchSource, rows: Rows) -> WorldModelBatch:
    """Pairs of the frames ``rows`` (some of ``demonstrations.starts``) and their future frames."""
    future = source.demonstrations.chunks.future_row[rows]
    pairs = torch.stack([features_of(source, rows), features_of(source, future)], dim=1)
    state = source.state[torch.from_numpy(rows)]
    mask = (torch.arange(state.shape[1]) < source.state_dims).expand_as(state)
    change = source.state[torch.from_numpy(future)] - state
    return WorldModelBatch(pairs, state, change, mask, _ids(source, len(rows)))


def policy_batch(source: BatchSource, starts: Rows, prompts: PromptEncoder, sentences: list[str], teacher: Tensor) -> PolicyBatch:
    """Observations ``starts`` (positions in ``demonstrations.starts``), each told one of ``sentences``; teacher: (P, 1, code_dim) of
    all starts."""
    demonstrations = source.demonstrations
    rows = demonstrations.starts[starts]
    picked = torch.from_numpy(rows)
    future = demonstrations.chunks.future_row[rows]
    images = torch.from_numpy(np.asarray(demonstrations.cache.images[starts])).flatten(0, 1)
    return PolicyBatch(
        prompt=prompts.batch([(sentence, *source.views) for sentence in sentences]),
        frames=images,
        features=features_of(source, rows),
        future_features=features_of(source, future),
        teacher=teacher[torch.from_numpy(starts)],
        actions=source.actions[picked],
        action_dims=source.action_dims,
        state=source.state[picked],
        action_hz=torch.full((len(rows),), source.action_hz),
        embodiment_id=_ids(source, len(rows)),
    )


def features_of(source: BatchSource, rows: Rows) -> Tensor:
    """(B, N, F) float32 features of rows."""
    return torch.from_numpy(source.demonstrations.cache.features_at(rows).astype(np.float32))


def draw_rows(count: int, size: int, generator: np.random.Generator) -> Rows:
    return generator.integers(0, count, size, dtype=np.int64)


def spread_rows(count: int, size: int) -> Rows:
    """At most ``size`` indices spread evenly over ``count``."""
    return np.unique(np.linspace(0, count - 1, min(size, count)).round().astype(np.int64))


def _ids(source: BatchSource, size: int) -> Tensor:
    return torch.full((size,), source.embodiment_id, dtype=torch.long)
