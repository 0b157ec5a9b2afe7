"""Training samples out of recorded episodes: which rows make a chunk, which frame is the future, what is normalised how."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.task import ACTION_SLOTS
from lawam_ros.data.action_space import ABSOLUTE_WIDTH, action_width, relative_from_absolute, slot_ranges

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SMALLEST_HALF_RANGE = {"translation_chunk_relative": 0.02, "rotvec_chunk_relative": 0.15, "gripper_opening": 0.01}
"""An axis that hardly moves in the demonstrations keeps at least this half range (m, rad, m): otherwise normalisation would blow noise up
to the size of real motion and the loss would be spent on it."""


@dataclass(frozen=True)
class FrameTable:
    """All frames of a dataset, episode after episode.

    state: (F, D) measured. reference: (F, 8 A) commanded rows of A arms side by side at the frame. target: (F, 8 A) commanded rows one step
    later. episode: (F,) number of the episode, rising. Rows are those of ``data/action_space.py``.
    """

    state: Array
    reference: Array
    target: Array
    episode: Indices

    def __len__(self) -> int:
        return len(self.episode)

    @property
    def last_row(self) -> Indices:
        """(F,) index of the last frame of each frame's episode."""
        return np.searchsorted(self.episode, self.episode, side="right") - 1


@dataclass(frozen=True)
class Chunks:
    """Per frame: chunk-relative actions (F, N, D), state (F, S), index of the future frame (F,), all raw units."""

    actions: NDArray[np.float32]
    state: NDArray[np.float32]
    future_row: Indices


def build_chunks(table: FrameTable, steps: int, slots: Sequence[str]) -> Chunks:
    """Chunks of ``steps`` rows starting at every frame; past the end of an episode its last row is repeated and counts as valid.

    The future frame is ``steps - 1`` frames ahead, one short of the chunk, and clamped to the episode, as in the official data loader.
    """
    rows = chunk_rows(table, steps)
    actions = np.stack([_relative(table.target[chunk], table.reference[row], slots) for row, chunk in enumerate(rows)])
    return Chunks(actions.astype(np.float32), table.state.astype(np.float32), rows[:, -1])


def _relative(targets: Array, reference: Array, slots: Sequence[str]) -> Array:
    arms = [slice(start, start + ABSOLUTE_WIDTH) for start in range(0, len(reference), ABSOLUTE_WIDTH)]
    return np.concatenate([relative_from_absolute(targets[:, arm], reference[arm], slots) for arm in arms], axis=1)


def chunk_rows(table: FrameTable, steps: int) -> Indices:
    """(F, steps) rows of the chunk of every frame."""
    return np.minimum(np.arange(len(table))[:, None] + np.arange(steps)[None], table.last_row[:, None])


def vector_statistics(values: NDArray[np.floating[Any]]) -> dict[str, list[float]]:
    """mean, std, min, max, q01, q99 per dimension of (..., D)."""
    flat = np.asarray(values, dtype=float).reshape(-1, values.shape[-1])
    q01, q99 = np.quantile(flat, [0.01, 0.99], axis=0)
    named = {"mean": flat.mean(0), "std": flat.std(0), "min": flat.min(0), "max": flat.max(0), "q01": q01, "q99": q99}
    return {name: [float(x) for x in vector] for name, vector in named.items()}


def dataset_statistics(chunks: Chunks, episodes: int, tag: str, slots: Sequence[str]) -> dict[str, Any]:
    """Content of ``dataset_statistics.json``: action statistics over all steps of all chunks, state statistics over all frames.

    ``min`` and ``max`` of actions are the normalisation range and not the extremes: chunk-relative slots are symmetric about zero, half
    range the 99 % quantile of each axis, never narrower than SMALLEST_HALF_RANGE. What lies outside is the far end of the fastest chunks,
    where clipping at inference does no harm, while the first steps, which are executed, keep a better resolution.
    """
    action: dict[str, Any] = vector_statistics(chunks.actions)
    for start in range(0, chunks.actions.shape[-1], action_width(slots)):
        for slot, where in slot_ranges(slots, ACTION_SLOTS, start).items():
            low, high = _range_of(slot, chunks.actions[..., where])
            action["min"][where], action["max"][where] = low.tolist(), high.tolist()
    action["mask"] = [True] * chunks.actions.shape[-1]
    return {
        tag: {
            "action": action,
            "state": vector_statistics(chunks.state),
            "num_transitions": len(chunks.state),
            "num_trajectories": episodes,
        }
    }


def _range_of(slot: str, values: NDArray[np.floating[Any]]) -> tuple[Array, Array]:
    flat, half = np.asarray(values, dtype=float).reshape(-1, values.shape[-1]), SMALLEST_HALF_RANGE[slot]
    if slot.endswith("_chunk_relative"):
        largest = np.maximum(np.quantile(np.abs(flat), 0.99, axis=0), half)
        return -largest, largest
    low, high = flat.min(axis=0), flat.max(axis=0)
    centre, span = 0.5 * (low + high), np.maximum(0.5 * (high - low), half)
    return centre - span, centre + span


def normalise(values: NDArray[Any], statistics: dict[str, Any]) -> NDArray[np.float32]:
    """min_max to -1..1 without clipping; dimensions with min == max become 0."""
    low, high = np.asarray(statistics["min"], dtype=float), np.asarray(statistics["max"], dtype=float)
    width = high - low
    return np.where(width > 0.0, 2.0 * (values - low) / np.where(width > 0.0, width, 1.0) - 1.0, 0.0).astype(np.float32)


def denormalise(values: NDArray[Any], statistics: dict[str, Any]) -> Array:
    """The inverse of ``normalise``."""
    low, high = np.asarray(statistics["min"], dtype=float), np.asarray(statistics["max"], dtype=float)
    return 0.5 * (np.asarray(values, dtype=float) + 1.0) * (high - low) + low


def pad_last(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Zeros appended to the last axis up to ``width``. Raises ValueError if it is already wider."""
    missing = width - values.shape[-1]
    if missing < 0:
        raise ValueError(f"expected at most {width} dimensions, got {values.shape[-1]}")
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
