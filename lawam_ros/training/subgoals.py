"""Samples for a picture of predicted against true subgoals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lawam_ros.training.sources import Source

SHOWN = 4


@dataclass(frozen=True)
class SubgoalSample:
    """One observation of an evaluation. frame: uint8 (S, S, 3). now, true, predicted: float32 (tokens, F) features, grid_hw: their grid."""

    frame: NDArray[np.uint8]
    now: NDArray[np.float32]
    true: NDArray[np.float32]
    predicted: NDArray[np.float32]
    grid_hw: tuple[int, int]


def subgoal_samples(
    sources: Sequence[Source], picks: Sequence[Any], features: Tensor, predicted: Tensor, grid_hw: tuple[int, int]
) -> list[SubgoalSample]:
    """A few of the picks, spread over them; features (B, 2, N, F), predicted (B, N, F)."""
    shown = np.unique(np.linspace(0, len(picks) - 1, min(SHOWN, len(picks))).round().astype(int))
    samples = []
    for index in shown:
        number, start = picks[index]
        source = sources[number]
        frame = source.pictures.primary(int(source.starts[start]), 0).permute(1, 2, 0).numpy()
        now, true = (features[index, when].float().cpu().numpy() for when in (0, 1))
        samples.append(SubgoalSample(frame, now, true, predicted[index].float().cpu().numpy(), grid_hw))
    return samples
