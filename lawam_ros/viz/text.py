"""Words in pictures."""

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Colour = tuple[int, int, int]

INK, WHITE = (60, 60, 60), (255, 255, 255)


def put_text(picture: Rgb, text: str, position: tuple[int, int], colour: Colour, outline: Colour | None = None) -> None:
    """Draw into the picture; position (x, y) is the left end of the baseline. An outline keeps words readable over anything."""
    for paint, thickness in ((outline, 3), (colour, 1)):
        if paint is not None:
            cv2.putText(picture, text, position, cv2.FONT_HERSHEY_SIMPLEX, 0.42, paint, thickness, cv2.LINE_AA)
