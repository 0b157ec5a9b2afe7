"""Pictures of the Quanta X1's cameras: JPEG or video packets, in the contract's size."""

import numpy as np
import pytest

from lawam_ros.observe.image import BadImage, jpeg_from_rgb
from lawam_ros.observe.vendor_picture import rgb_of_packet, shrunk

RED = np.full((480, 640, 3), (250, 0, 0), np.uint8)


def never(data, form):
    raise AssertionError("no video here")


@pytest.mark.parametrize("form", ["jpeg", "rgb8; jpeg compressed bgr8", ""])
def test_a_jpeg_is_decoded_here(form):
    assert np.abs(rgb_of_packet(jpeg_from_rgb(RED, 95), form, never).astype(int) - RED).max() <= 4


def test_video_packets_go_to_the_decoder_and_come_back_in_rgb():
    packets = []

    def decode(data, form):
        packets.append((data, form))
        return None if len(packets) == 1 else RED[..., ::-1]

    assert rgb_of_packet(b"1", "H264", decode) is None
    assert np.array_equal(rgb_of_packet(b"2", "h26x", decode), RED)
    assert packets == [(b"1", "H264"), (b"2", "h26x")]


def test_what_does_not_decode_is_refused():
    with pytest.raises(BadImage):
        rgb_of_packet(b"garbage", "jpeg", never)
    with pytest.raises(BadImage, match="expected a BGR picture"):
        rgb_of_packet(b"1", "hevc", lambda data, form: RED[..., 0])


def test_a_picture_of_the_same_shape_is_made_smaller_and_another_shape_refused():
    assert shrunk(RED, 240, 320).shape == (240, 320, 3)
    assert shrunk(RED, 480, 640) is RED
    with pytest.raises(BadImage, match="expected a picture as wide and high as 256x256, got 640x480"):
        shrunk(RED, 256, 256)
