"""Pictures of different cameras as tiles of one frame of a film."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lawam_ros.viz.text import INK, WHITE, put_text

Rgb = NDArray[np.uint8]

TILE_HW = (240, 320)
_BAR_PX = 26
_PAPER = (250, 250, 247)


def film_frame(tiles: Sequence[tuple[str, Rgb | None]], caption: str) -> Rgb:
    """(H, W, 3), even in both directions as encoders want it: named tiles in rows, grey where there is no picture, over a caption."""
    columns = math.ceil(math.sqrt(len(tiles)))
    cells = [_tile(name, picture) for name, picture in tiles]
    cells += [np.full((*TILE_HW, 3), _PAPER, np.uint8)] * (-len(cells) % columns)
    rows = [np.concatenate(cells[start : start + columns], axis=1) for start in range(0, len(cells), columns)]
    bar = np.full((_BAR_PX, columns * TILE_HW[1], 3), _PAPER, np.uint8)
    put_text(bar, caption, (6, 18), INK)
    return np.concatenate([*rows, bar], axis=0)


def _tile(name: str, picture: Rgb | None) -> Rgb:
    """Fitted into the tile without changing its shape."""
    out = np.full((*TILE_HW, 3), 128, np.uint8)
    if picture is not None:
        height, width = picture.shape[:2]
        scale = min(TILE_HW[0] / height, TILE_HW[1] / width)
        fitted = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        top, left = (TILE_HW[0] - fitted.shape[0]) // 2, (TILE_HW[1] - fitted.shape[1]) // 2
        out[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    put_text(out, name if picture is not None else f"{name}: nothing yet", (6, TILE_HW[0] - 8), WHITE, on=(0, 0, 0))
    return out
