"""Action ensemble of the official RoboTwin client: every step is a weighted mean of what all chunks so far said about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Actions = NDArray[np.float64]


@dataclass(frozen=True)
class EnsembleRules:
    """alpha: how much predictions like the newest one count (0: all alike). Blended binary dimensions become 0 or 1 at the threshold again,
    blended quaternions (groups of four dimensions, the real part first) get unit length again."""

    alpha: float = 0.0
    binary_dims: tuple[int, ...] = ()
    binary_threshold: float = 0.49
    quaternions: tuple[tuple[int, ...], ...] = ()


def ensemble(chunks: Sequence[Actions], starts: Sequence[int], first: int, count: int, rules: EnsembleRules) -> Actions:
    """Steps ``first`` to ``first + count`` of an episode, (count, D).

    chunks: (n, D) each, oldest first; starts: the step of the episode that the first row of each is for. ValueError where no chunk says
    anything about a step.
    """
    return np.stack([blend(predictions_of(chunks, starts, step), rules) for step in range(first, first + count)])


def predictions_of(chunks: Sequence[Actions], starts: Sequence[int], step: int) -> Actions:
    """What all chunks say about one step, (P, D), oldest first."""
    found = [chunk[step - start] for chunk, start in zip(chunks, starts, strict=True) if 0 <= step - start < len(chunk)]
    if not found:
        raise ValueError(f"expected a chunk that covers step {step}, got chunks for steps {_ranges(chunks, starts)}")
    return np.stack(found).astype(np.float64)


def blend(predictions: Actions, rules: EnsembleRules) -> Actions:
    """Weighted mean (D,) of predictions (P, D): weight exp(alpha * cosine with the newest, which is the last)."""
    newest = predictions[-1]
    lengths = np.linalg.norm(predictions, axis=1) * np.linalg.norm(newest)
    weights = np.exp(rules.alpha * (predictions @ newest) / (lengths + 1e-7))
    blended = weights @ predictions / weights.sum()
    binary = list(rules.binary_dims)
    blended[binary] = blended[binary] > rules.binary_threshold
    for dims in map(list, rules.quaternions):
        length = np.linalg.norm(blended[dims])
        blended[dims] = blended[dims] / length if length > 1e-8 else np.eye(len(dims))[0]
    return np.asarray(blended)


def _ranges(chunks: Sequence[Actions], starts: Sequence[int]) -> str:
    return ", ".join(f"{start} to {start + len(chunk) - 1}" for chunk, start in zip(chunks, starts, strict=True)) or "none"
