"""Images of peers: what is refused before it is decoded."""

import numpy as np
import pytest

from lawam_ros.observe.image import jpeg_from_rgb
from lawam_ros.policies.wire.images import checked_image, jpeg_size, rgb_from_jpeg
from lawam_ros.policies.wire.peer_mistake import PeerMistake

GREEN = np.full((24, 32, 3), (0, 255, 0), np.uint8)


def test_a_jpeg_comes_back_in_rgb():
    data = jpeg_from_rgb(GREEN, 95)
    assert jpeg_size(data, "image") == (24, 32)
    assert np.abs(rgb_from_jpeg(data, "image").astype(int) - GREEN).max() <= 3


def test_a_size_of_gigapixels_is_refused_by_the_header():
    data = bytearray(jpeg_from_rgb(GREEN, 95))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(PeerMistake, match="expected front image with sides of 1 to 4096 pixels, got 65535x65535"):
        rgb_from_jpeg(bytes(data), "front image")


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff" * 99, b"garbage" * 40, b"\x89PNG\r\n\x1a\n" + bytes(60)]
)
def test_what_has_no_headers_is_no_jpeg(data):
    with pytest.raises(PeerMistake, match="expected x as a JPEG image"):
        rgb_from_jpeg(data, "x")


def test_headers_without_a_picture_are_refused():
    data = jpeg_from_rgb(GREEN, 95)
    with pytest.raises(PeerMistake, match="that do not decode"):
        rgb_from_jpeg(data[: data.index(b"\xff\xda")], "x")


@pytest.mark.parametrize(
    "image",
    [GREEN.astype(float), GREEN[..., 0], GREEN[..., :2], np.zeros((0, 4, 3), np.uint8), np.zeros((1, 4097, 3), np.uint8), [1], None],
)
def test_arrays_that_are_no_images_are_refused(image):
    with pytest.raises(PeerMistake, match="expected x"):
        checked_image(image, "x")
