"""Batches of both stages out of one or several datasets: everything random is drawn by the generator of the step."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawam_ros.model.config import ModelConfig
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.training.augmentation import Augmentation, augmented
from lawam_ros.training.frozen_context import FrozenContext, joined
from lawam_ros.training.losses import action_mask
from lawam_ros.training.sources import Source
from lawam_ros.training.stage1 import WorldModelBatch
from lawam_ros.training.stage2 import PolicyBatch

Rows = NDArray[np.int64]
Pick = tuple[int, int]
"""Number of a source and position in its ``starts``."""


def world_model_batch(
    config: ModelConfig,
    sources: Sequence[Source],
    picks: Sequence[Pick],
    cameras: Sequence[int] | None = None,
    views: tuple[Augmentation, Augmentation] | None = None,
) -> WorldModelBatch:
    """Pairs of frames at the picked starts and their futures. cameras: which primary camera of each pick, default the first.

    views: two augmentations, one for the encoder, one for the decoder, the same for the whole batch; without them both see the same.
    """
    rows = [_rows(sources, pick) for pick in picks]
    features = None if views is not None or cameras is not None else pair_features(sources, rows)
    pair = second = None
    if features is None:
        chosen = cameras if cameras is not None else [0] * len(rows)
        pair = torch.stack(
            [
                torch.stack([source.pictures.primary(row, camera), source.pictures.primary(future, camera)])
                for (source, row, future), camera in zip(rows, chosen, strict=True)
            ]
        )
        if views is not None:
            pair, second = (augmented(pair, view) for view in views)
    width = config.lam.max_state_dim
    state = torch.stack([_padded(source.state[row], width) for source, row, _ in rows])
    later = torch.stack([_padded(source.state[future], width) for source, _, future in rows])
    dims = torch.tensor([min(source.state.shape[1], width) for source, _, _ in rows])
    mask = torch.arange(width) < dims[:, None]
    return WorldModelBatch(features, state, later - state, mask, _ids(rows), pair=pair, second_pair=second)


def policy_batch(
    config: ModelConfig,
    sources: Sequence[Source],
    picks: Sequence[Pick],
    prompts: PromptEncoder,
    sentences: Sequence[str] | None = None,
    augment: Callable[[int], Augmentation] | None = None,
) -> PolicyBatch:
    """Observations of the picked starts, each told one of ``sentences`` (default its own). augment(index): draw for one sample."""
    flow, rows = config.flow, [_rows(sources, pick) for pick in picks]
    said = sentences if sentences is not None else [sources[number].sentence(start) for number, start in picks]
    views = [source.pictures.views(row) for source, row, _ in rows]
    features = None if augment is not None else pair_features(sources, rows)
    pair = None
    if features is None:
        futures = [source.pictures.primary(future, 0) for source, _, future in rows]
        if augment is not None:
            both = [
                augmented(torch.cat([view, future[None]]), augment(i)) for i, (view, future) in enumerate(zip(views, futures, strict=True))
            ]
            views, futures = [one[:-1] for one in both], [one[-1] for one in both]
        pair = torch.stack([torch.stack([view[0], future]) for view, future in zip(views, futures, strict=True)])
    actions = torch.stack([_padded_chunk(source.actions[row], flow.action_horizon, flow.action_dim) for source, row, _ in rows])
    lengths, dims = (torch.tensor([source.actions.shape[axis] for source, _, _ in rows]) for axis in (1, 2))
    width = flow.state_dim if flow.use_state else 0
    state_dims = torch.tensor([min(source.state.shape[1], width) for source, _, _ in rows])
    state = torch.stack([_padded(source.state[row], width) for source, row, _ in rows])
    return PolicyBatch(
        prompt=prompts.batch([(sentence, *source.views) for sentence, (source, _, _) in zip(said, rows, strict=True)]),
        frames=torch.cat(views),
        features=features,
        pair=pair,
        teacher=teachers(sources, picks),
        context=contexts(sources, picks) if augment is None else None,
        actions=actions,
        action_mask=action_mask(lengths, dims, flow.action_horizon, flow.action_dim),
        state=state,
        state_mask=torch.arange(width) < state_dims[:, None],
        action_hz=torch.tensor([source.action_hz for source, _, _ in rows]),
        embodiment_id=_ids(rows),
    )


def pair_features(sources: Sequence[Source], rows: Sequence[tuple[Source, int, int]]) -> Tensor | None:
    """(B, 2, N, F) cached features of rows and their futures; None if any source has none."""
    parts = [source.pictures.features(np.array([row, future])) for source, row, future in rows]
    return None if any(part is None for part in parts) else torch.stack([part for part in parts if part is not None])


def teachers(sources: Sequence[Source], picks: Sequence[Pick]) -> Tensor | None:
    """(B, 1, code_dim) cached latent actions; None if any source has none."""
    if any(sources[number].teacher is None for number, _ in picks):
        return None
    return torch.stack([sources[number].teacher[start] for number, start in picks])  # type: ignore[index]


def contexts(sources: Sequence[Source], picks: Sequence[Pick]) -> FrozenContext | None:
    """What the action expert reads of the picks; None if any source has none."""
    parts = [sources[number].context for number, _ in picks]
    return None if None in parts else joined([part.at([start]) for part, (_, start) in zip(parts, picks, strict=True) if part is not None])


def draw_picks(sources: Sequence[Source], size: int, generator: np.random.Generator) -> list[Pick]:
    """Samples of a mixture: the dataset by its weight times its length, then any of its starts."""
    if len(sources) == 1:
        return [(0, int(start)) for start in draw_rows(len(sources[0].starts), size, generator)]
    shares = np.array([source.weight * len(source.starts) for source in sources])
    numbers = generator.choice(len(sources), size=size, p=shares / shares.sum())
    return [(int(number), int(generator.integers(len(sources[number].starts)))) for number in numbers]


def draw_rows(count: int, size: int, generator: np.random.Generator) -> Rows:
    return generator.integers(0, count, size, dtype=np.int64)


def spread_rows(count: int, size: int) -> Rows:
    """At most ``size`` indices spread evenly over ``count``."""
    return np.unique(np.linspace(0, count - 1, min(size, count)).round().astype(np.int64))


def spread_picks(sources: Sequence[Source], size: int) -> list[Pick]:
    """At most about ``size`` starts spread evenly over all sources."""
    each = max(1, size // len(sources))
    return [(number, int(start)) for number, source in enumerate(sources) for start in spread_rows(len(source.starts), each)]


def _rows(sources: Sequence[Source], pick: Pick) -> tuple[Source, int, int]:
    source = sources[pick[0]]
    row = int(source.starts[pick[1]])
    return source, row, int(source.future[row])


def _ids(rows: Sequence[tuple[Source, int, int]]) -> Tensor:
    return torch.tensor([source.embodiment_id for source, _, _ in rows], dtype=torch.long)


def _padded(values: NDArray[np.float32], width: int) -> Tensor:
    out = torch.zeros(width)
    kept = min(len(values), width)
    out[:kept] = torch.from_numpy(np.asarray(values[:kept], dtype=np.float32))
    return out


def _padded_chunk(values: NDArray[np.float32], rows: int, width: int) -> Tensor:
    out = torch.zeros(rows, width)
    out[: len(values), : values.shape[1]] = torch.from_numpy(np.asarray(values))
    return out
