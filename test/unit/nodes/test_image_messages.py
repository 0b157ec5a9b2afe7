"""Image messages to arrays and back, as the nodes use them."""

import array
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 messages are not installed")

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from lawam_ros.contract.load import load_contract
from lawam_ros.nodes import messages
from lawam_ros.nodes.camera_input import CameraInput
from lawam_ros.nodes.images import check_message, image_message, image_to_rgb, image_type, rgb_to_image
from lawam_ros.observe.image import BadImage

CAMERA = load_contract("franka_pick_place").robot.camera("front")
RGB = np.random.default_rng(4).integers(0, 256, (CAMERA.height, CAMERA.width, 3), dtype=np.uint8)


def test_round_trip_over_the_wire() -> None:
    message = deserialize_message(serialize_message(rgb_to_image(RGB, 1_000_000_002, "front_optical_frame")), Image)
    assert (message.encoding, message.height, message.width, message.step) == ("rgb8", CAMERA.height, CAMERA.width, CAMERA.width * 3)
    assert (messages.nanoseconds(message.header.stamp), message.header.frame_id) == (1_000_000_002, "front_optical_frame")
    np.testing.assert_array_equal(image_to_rgb(message, CAMERA), RGB)


def test_arrays_that_are_not_contiguous() -> None:
    np.testing.assert_array_equal(image_to_rgb(rgb_to_image(RGB[:, ::-1], 0, ""), CAMERA), RGB[:, ::-1])


@pytest.mark.parametrize("encoding", ["bgr8", "rgba8", "bgra8", "mono8"])
def test_padded_rows_of_other_encodings(encoding: str) -> None:
    pixels = {
        "bgr8": RGB[..., ::-1],
        "rgba8": np.dstack([RGB, RGB[..., :1]]),
        "bgra8": np.dstack([RGB[..., ::-1], RGB[..., :1]]),
        "mono8": RGB[..., :1],
    }[encoding]
    rows = np.pad(pixels.reshape(CAMERA.height, -1), ((0, 0), (0, 11)))
    data = array.array("B", rows.tobytes())
    message = Image(height=CAMERA.height, width=CAMERA.width, encoding=encoding, step=rows.shape[1], data=data)
    expected = np.repeat(RGB[..., :1], 3, axis=2) if encoding == "mono8" else RGB
    np.testing.assert_array_equal(image_to_rgb(message, CAMERA), expected)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_pictures_are_turned_as_the_contract_says(degrees: int) -> None:
    turns = {90: 3, 180: 2, 270: 1}[degrees]
    expected = np.rot90(RGB, turns)
    camera = replace(CAMERA, rotate_deg=degrees, height=expected.shape[0], width=expected.shape[1])
    np.testing.assert_array_equal(image_to_rgb(rgb_to_image(RGB, 0, ""), camera), expected)
    assert camera.mounted_hw == RGB.shape[:2]
    check_message(rgb_to_image(RGB, 0, ""), camera)
    if degrees != 180:
        with pytest.raises(BadImage, match="pixels as in the robot file"):
            check_message(rgb_to_image(np.ascontiguousarray(expected), 0, ""), camera)


def test_compressed_images() -> None:
    png = CompressedImage(format="png", data=array.array("B", cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()))
    np.testing.assert_array_equal(image_to_rgb(png, CAMERA), RGB)


def test_the_topic_of_a_camera_tells_its_messages() -> None:
    compressed = replace(CAMERA, topic="camera/front/image_raw/compressed")
    assert (image_type(CAMERA), image_type(compressed)) == (Image, CompressedImage)
    assert compressed.info_topic == CAMERA.info_topic
    smooth = np.repeat(np.linspace(0, 255, CAMERA.width, dtype=np.uint8)[None, :, None], CAMERA.height, axis=0).repeat(3, axis=2)
    message = deserialize_message(serialize_message(image_message(smooth, compressed, 7, "front_optical_frame")), CompressedImage)
    assert (messages.nanoseconds(message.header.stamp), message.format) == (7, "rgb8; jpeg compressed bgr8")
    np.testing.assert_allclose(image_to_rgb(message, compressed).astype(int), smooth, atol=6)
    assert len(message.data) < smooth.size / 20


def compressed_input() -> CameraInput:
    return CameraInput(load_contract("franka_pick_place").robot, replace(CAMERA, topic="camera/front/image_raw/compressed"), stepped=False)


def test_a_compressed_stream_is_watched_like_a_raw_one() -> None:
    camera = compressed_input()
    good = image_message(RGB, replace(CAMERA, topic="x/compressed"), 0, "")
    black = image_message(np.zeros_like(RGB), replace(CAMERA, topic="x/compressed"), 0, "")
    for k in range(1, 4):
        good.header.stamp = messages.stamp(k * 50_000_000)
        camera.arrived(good, k * 50_000_000, {"joint": 0.1 * k})
    assert "equal frames while the arm moved" in camera.watch.problem(150_000_000)
    for k in range(4, 9):
        black.header.stamp = messages.stamp(k * 50_000_000)
        camera.arrived(black, k * 50_000_000, {"joint": 0.0})
    assert camera.watch.warning() == "black for 5 frames"
    for k in range(9, 12):
        camera.arrived(CompressedImage(header=messages.header(k * 50_000_000), data=array.array("B", b"no picture")), k * 50_000_000, None)
    assert "do not decode" in camera.watch.refusal


def test_broken_messages_are_refused() -> None:
    short, depth, small = rgb_to_image(RGB, 0, ""), rgb_to_image(RGB, 0, ""), rgb_to_image(RGB[:100], 0, "")
    short.data = short.data[:-1]
    depth.encoding = "16UC1"
    for message in (short, depth, small, Image(), CompressedImage(), CompressedImage(data=[1, 2, 3])):
        with pytest.raises(BadImage):
            image_to_rgb(message, CAMERA)
    with pytest.raises(BadImage, match="expected 320x240 pixels as in the robot file, got 320x100"):
        image_to_rgb(small, CAMERA)
