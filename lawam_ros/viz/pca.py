"""Features as colours: their three strongest directions, fixed once, so that colours keep their meaning over time."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
GAIN = 1.5


@dataclass(frozen=True)
class PcaBasis:
    """mean (F,), components (F, 3) with orthonormal columns, scale (3,): spread of the fitted tokens along them. Signs are arbitrary."""

    mean: Features
    components: Features
    scale: Features


def fit_basis(features: Features) -> PcaBasis:
    """Basis of the tokens (N, F) of one image. ValueError for fewer than three tokens or features."""
    if min(features.shape) < 3:
        raise ValueError(f"expected at least 3 tokens of at least 3 features, got {features.shape}")
    mean = features.mean(axis=0)
    centred = features - mean
    components = np.linalg.svd(centred, full_matrices=False)[2][:3].T
    spread = np.maximum((centred @ components).std(axis=0), 1e-6)
    return PcaBasis(mean.astype(np.float32), components.astype(np.float32), spread.astype(np.float32))


def colours(features: Features, basis: PcaBasis, grid_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Tokens (rows * columns, F) as an RGB picture (rows, columns, 3), grey where they equal the fitted mean."""
    coordinates = (features - basis.mean) @ basis.components / basis.scale
    level = 1.0 / (1.0 + np.exp(-GAIN * coordinates))
    return np.round(255.0 * level).astype(np.uint8).reshape(*grid_hw, 3)


def pca_pair(
    current: Features, predicted: Features, basis: PcaBasis, grid_hw: tuple[int, int], size_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    """Present and predicted features beside each other in the same colours, (H, 2 W, 3); a patch is a rectangle of one colour."""
    height, width = size_hw
    panels = [
        cv2.resize(colours(tokens, basis, grid_hw), (width, height), interpolation=cv2.INTER_NEAREST) for tokens in (current, predicted)
    ]
    return np.concatenate(panels, axis=1)
