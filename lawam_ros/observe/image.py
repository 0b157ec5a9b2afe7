"""Raw image bytes as RGB arrays in the orientation of the contract."""

import cv2
import numpy as np
from numpy.typing import NDArray

_QUARTER_TURNS = {0: 0, 90: 3, 180: 2, 270: 1}

_TO_RGB = {
    "rgb8": None,
    "8UC3": cv2.COLOR_BGR2RGB,
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "8UC1": cv2.COLOR_GRAY2RGB,
}
CHANNELS = {"rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1}
"""Encodings read here. ``8UC3`` is OpenCV's name for three bytes in BGR order."""


class BadImage(ValueError):
    """An image that cannot be used; ``str(error)`` says what was expected and what came."""


def check_layout(size: int, height: int, width: int, step: int, encoding: str) -> None:
    """Raises BadImage unless ``size`` bytes hold such an image."""
    if encoding not in CHANNELS:
        raise BadImage(f"expected encoding {', '.join(CHANNELS)}, got {encoding!r}")
    row = width * CHANNELS[encoding]
    if height < 1 or width < 1 or step < row or size < height * step:
        raise BadImage(f"expected {height} rows of at least {row} bytes, got step {step} and {size} bytes")


def rgb_from_bytes(data: memoryview | bytes, height: int, width: int, step: int, encoding: str) -> NDArray[np.uint8]:
    """RGB copy (height, width, 3) of an image whose rows are ``step`` bytes apart. Raises BadImage."""
    check_layout(len(data), height, width, step, encoding)
    row = width * CHANNELS[encoding]
    pixels = np.frombuffer(data, np.uint8, count=height * step).reshape(height, step)[:, :row]
    pixels = np.ascontiguousarray(pixels.reshape(height, width, CHANNELS[encoding]))
    code = _TO_RGB[encoding]
    return pixels.copy() if code is None else np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)


def rgb_from_compressed(data: memoryview | bytes) -> NDArray[np.uint8]:
    """RGB array of a JPEG or PNG. Raises BadImage."""
    # An orientation tag is not followed: the contract alone says how a camera is mounted.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return np.asarray(cv2.cvtColor(_decoded(data, flags), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def reduced_from_compressed(data: memoryview | bytes) -> NDArray[np.uint8]:
    """A JPEG or PNG at an eighth of its size (height / 8, width / 8, 3), BGR: enough to tell images apart. Raises BadImage."""
    flags = cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION
    return _decoded(data, flags)


def jpeg_from_rgb(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG of an RGB array; quality 1 to 100."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise BadImage(f"expected an image that encodes as JPEG, got shape {rgb.shape}")
    return bytes(data.data)


def _decoded(data: memoryview | bytes, flags: int) -> NDArray[np.uint8]:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if len(data) else None
    if decoded is None:
        raise BadImage(f"expected a JPEG or PNG image, got {len(data)} bytes that do not decode")
    return np.asarray(decoded, dtype=np.uint8)


def rotate(image: NDArray[np.uint8], rotate_deg: int) -> NDArray[np.uint8]:
    """Image turned clockwise by 0, 90, 180 or 270 degrees, as the camera is mounted."""
    return np.ascontiguousarray(np.rot90(image, _QUARTER_TURNS[rotate_deg])) if rotate_deg else image


def check_size(shape: tuple[int, ...], height: int, width: int) -> None:
    """Raises BadImage unless an image of this shape, as mounted, has the contract's size."""
    if shape[:2] != (height, width):
        raise BadImage(f"expected {width}x{height} pixels as in the robot file, got {shape[1]}x{shape[0]}")
