"""Image messages to arrays and back: the usual encodings the same way on every machine, rarer ones (Bayer, YUV) through cv_bridge."""

import array
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lawam_ros.contract.robot import Camera
from lawam_ros.nodes import messages
from lawam_ros.observe.image import (
    CHANNELS,
    BadImage,
    check_layout,
    check_size,
    jpeg_from_rgb,
    rgb_from_bytes,
    rgb_from_compressed,
    rotate,
)

ImageMessage: TypeAlias = "Image | CompressedImage"
JPEG_QUALITY = 90


def image_type(camera: Camera) -> type[ImageMessage]:
    """Message class of the camera's topic."""
    return CompressedImage if camera.is_compressed else Image


@cache
def bridge() -> Any | None:
    """A working CvBridge or None. Importing it can succeed while its compiled half is missing, so one conversion is tried."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return None
    candidate = CvBridge()
    try:
        candidate.imgmsg_to_cv2(Image(height=1, width=1, encoding="rgb8", step=3, data=array.array("B", bytes(3))), "rgb8")
    except Exception:  # any failure of the foreign binary (numpy ABI, missing module) means: do without it
        return None
    return candidate


def image_to_rgb(message: ImageMessage, camera: Camera) -> NDArray[np.uint8]:
    """RGB array in the contract's orientation and size. Raises BadImage with what was expected and what came."""
    rgb = rotate(_rgb_as_mounted(message), camera.rotate_deg)
    check_size(rgb.shape, camera.height, camera.width)
    return rgb


def compressed_image(message: Image) -> CompressedImage:
    """The same picture as JPEG. Raises BadImage."""
    return _jpeg_message(_rgb_as_mounted(message), message.header)


def _rgb_as_mounted(message: ImageMessage) -> NDArray[np.uint8]:
    if isinstance(message, CompressedImage):
        return rgb_from_compressed(bytes(message.data))
    if message.encoding in CHANNELS:
        return rgb_from_bytes(memoryview(message.data).cast("B"), message.height, message.width, message.step, message.encoding)
    if bridge() is None:
        raise BadImage(f"expected encoding {', '.join(CHANNELS)}, got {message.encoding!r}; others need cv_bridge, which is not installed")
    try:
        return np.array(bridge().imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)  # type: ignore[union-attr]
    except Exception as error:  # CvBridgeError and OpenCV errors share no base class
        raise BadImage(f"cv_bridge refused encoding {message.encoding!r}: {error}") from error


def check_message(message: Image, camera: Camera) -> None:
    """What can be told of an image before it is decoded. Raises BadImage as ``image_to_rgb`` would."""
    if message.encoding in CHANNELS or bridge() is None:
        check_layout(len(message.data), message.height, message.width, message.step, message.encoding)
    check_size((message.height, message.width), *camera.mounted_hw)


def image_message(rgb: NDArray[np.uint8], camera: Camera, stamp_ns: int, frame_id: str) -> ImageMessage:
    """What the camera's topic carries: rgb8, or JPEG."""
    if not camera.is_compressed:
        return rgb_to_image(rgb, stamp_ns, frame_id)
    return _jpeg_message(rgb, messages.header(stamp_ns, frame_id))


def _jpeg_message(rgb: NDArray[np.uint8], header: Header) -> CompressedImage:
    data = array.array("B", jpeg_from_rgb(rgb, JPEG_QUALITY))
    return CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=data)


def rgb_to_image(rgb: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> Image:
    """rgb8 message. ``array.array`` is taken without a per-byte loop, with message checks on and off."""
    height, width = rgb.shape[:2]
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(rgb, dtype=np.uint8).tobytes())
    header = messages.header(stamp_ns, frame_id)
    return Image(header=header, height=int(height), width=int(width), encoding="rgb8", is_bigendian=0, step=int(width * 3), data=data)
