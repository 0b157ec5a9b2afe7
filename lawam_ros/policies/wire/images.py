"""Camera images as peers send them: checked before anything large is made of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.observe.image import BadImage, rgb_from_compressed
from lawam_ros.policies.wire.peer_mistake import PeerMistake

Image = NDArray[np.uint8]

MAX_SIDE = 4096
MAX_IMAGES = 8


def checked_image(value: Any, what: str) -> Image:
    """A copy, uint8 (H, W, 3), that torch may wrap: the arrays of a message are read-only. Raises PeerMistake."""
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
        came = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
        raise PeerMistake(f"expected {what} as a uint8 image (height, width, 3), got {came}")
    if not all(1 <= side <= MAX_SIDE for side in value.shape[:2]):
        raise PeerMistake(f"expected {what} with sides of 1 to {MAX_SIDE} pixels, got {value.shape[1]}x{value.shape[0]}")
    return value.copy()


def rgb_from_jpeg(data: bytes, what: str) -> Image:
    """RGB image of JPEG bytes. The size is read from the header first: a kilobyte may claim gigapixels. Raises PeerMistake."""
    height, width = jpeg_size(data, what)
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise PeerMistake(f"expected {what} with sides of 1 to {MAX_SIDE} pixels, got {width}x{height}")
    try:
        return rgb_from_compressed(data)
    except BadImage as error:
        raise PeerMistake(f"{what}: {error}") from error


def jpeg_size(data: bytes, what: str) -> tuple[int, int]:
    """Height and width from the frame header (ITU-T T.81, B.2.2). Raises PeerMistake where there is none."""
    place = 2 if data[:2] == b"\xff\xd8" else len(data)
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xFF:
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[place + 5 : place + 7], "big"), int.from_bytes(data[place + 7 : place + 9], "big")
        place += 2 + length
    raise PeerMistake(f"expected {what} as a JPEG image, got {len(data)} bytes without its headers")
