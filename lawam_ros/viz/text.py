"""Words in pictures."""

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Colour = tuple[int, int, int]

INK, WHITE = (60, 60, 60), (255, 255, 255)
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def put_text(picture: Rgb, text: str, position: tuple[int, int], colour: Colour, on: Colour | None = None) -> None:
    """Draw into the picture; position (x, y) is the left end of the baseline. on: colour of a box behind the words."""
    x, y = position
    if on is not None:
        (width, height), baseline = cv2.getTextSize(text, _FONT, _SCALE, 1)
        cv2.rectangle(picture, (x - 3, y - height - 3), (x + width + 3, y + baseline), on, -1)
    cv2.putText(picture, text, position, _FONT, _SCALE, colour, 1, cv2.LINE_AA)
