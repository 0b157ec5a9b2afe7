"""Pictures as a camera of the Quanta X1 delivers them, in the size that the contract expects."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from lawam_ros.observe.image import BadImage, rgb_from_compressed

Decode = Callable[[bytes, str], NDArray[np.uint8] | None]
"""A decoder of a video stream: packet and format in, BGR picture out, None where none is complete yet."""

_VIDEO = ("h264", "h265", "h26x", "hevc", "avc")


def is_video(form: str) -> bool:
    """Whether a format names a video stream, of which no packet can be left out."""
    return any(hint in form.lower() for hint in _VIDEO)


def rgb_of_packet(data: bytes, form: str, decode: Decode) -> NDArray[np.uint8] | None:
    """RGB picture of a JPEG or of a packet of a video stream; None while a stream has no picture yet. Raises BadImage."""
    if not is_video(form):
        return rgb_from_compressed(data)
    picture = decode(data, form)
    if picture is None:
        return None
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise BadImage(f"expected a BGR picture of the video decoder, got {picture.dtype} {picture.shape}")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def shrunk(rgb: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The whole picture in the contract's size. Raises BadImage for another shape, which would have to be cut or squeezed."""
    if rgb.shape[:2] == (height, width):
        return rgb
    if rgb.shape[0] * width != rgb.shape[1] * height:
        raise BadImage(
            f"expected a picture as wide and high as {width}x{height}, got {rgb.shape[1]}x{rgb.shape[0]}; crop it in the contract"
        )
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
