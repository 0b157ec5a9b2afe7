"""Small pictures with captions in rows, to look many episodes over at once."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
_CAPTION_PX = 34
_INK, _PAPER = (60, 60, 60), (250, 250, 247)


def contact_sheet(pictures: Sequence[Rgb], captions: Sequence[tuple[str, str]], columns: int = 5) -> Rgb:
    """Pictures (H, W, 3) of one size, each above its two caption lines. ValueError when there are none or sizes differ."""
    if not pictures or len({picture.shape for picture in pictures}) != 1 or len(pictures) != len(captions):
        raise ValueError(f"expected pictures of one size and a caption each, got {len(pictures)} and {len(captions)}")
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    sheet = np.full((rows * (height + _CAPTION_PX), columns * width, 3), _PAPER, np.uint8)
    for index, (picture, lines) in enumerate(zip(pictures, captions, strict=True)):
        top, left = index // columns * (height + _CAPTION_PX), index % columns * width
        caption = np.full((_CAPTION_PX, width, 3), _PAPER, np.uint8)
        for row, line in enumerate(lines):
            cv2.putText(caption, line, (4, 13 + 15 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, 1, cv2.LINE_AA)
        sheet[top : top + height + _CAPTION_PX, left : left + width] = np.concatenate([picture, caption])
    return sheet
