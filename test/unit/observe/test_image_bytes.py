"""Raw bytes and compressed files as RGB: every encoding, padded rows, what is broken, and which way a picture turns."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lawam_ros.observe.image import CHANNELS, BadImage, check_size, rgb_from_bytes, rgb_from_compressed, rotate

HEIGHT, WIDTH = 5, 7


def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def encoded(rgb: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    """The picture in another encoding, by index only."""
    alpha = np.full_like(rgb[..., :1], 200)
    return {
        "rgb8": rgb,
        "bgr8": rgb[..., ::-1],
        "8UC3": rgb[..., ::-1],
        "rgba8": np.concatenate([rgb, alpha], axis=2),
        "bgra8": np.concatenate([rgb[..., ::-1], alpha], axis=2),
        "mono8": rgb[..., :1],
        "8UC1": rgb[..., :1],
    }[encoding]


@pytest.mark.parametrize("padding", [0, 1, 9])
@pytest.mark.parametrize("encoding", list(CHANNELS))
def test_every_encoding_with_and_without_padded_rows(encoding: str, padding: int) -> None:
    rgb = picture()
    rows = encoded(rgb, encoding).reshape(HEIGHT, -1)
    padded = np.concatenate([rows, np.full((HEIGHT, padding), 77, np.uint8)], axis=1)
    result = rgb_from_bytes(padded.tobytes(), HEIGHT, WIDTH, padded.shape[1], encoding)
    expected = np.repeat(rgb[..., :1], 3, axis=2) if CHANNELS[encoding] == 1 else rgb
    np.testing.assert_array_equal(result, expected)
    assert result.flags.c_contiguous
    assert result.flags.writeable


def test_the_result_does_not_share_memory() -> None:
    data = bytearray(picture().tobytes())
    result = rgb_from_bytes(memoryview(data), HEIGHT, WIDTH, WIDTH * 3, "rgb8")
    before = result.copy()
    data[:] = bytes(len(data))
    np.testing.assert_array_equal(result, before)


@pytest.mark.parametrize(
    ("size", "height", "width", "step", "encoding"),
    [
        (HEIGHT * WIDTH * 3 - 1, HEIGHT, WIDTH, WIDTH * 3, "rgb8"),
        (HEIGHT * WIDTH * 3, HEIGHT, WIDTH, WIDTH * 3 - 1, "rgb8"),
        (0, HEIGHT, WIDTH, WIDTH * 3, "rgb8"),
        (10, 0, WIDTH, WIDTH * 3, "rgb8"),
        (10, HEIGHT, 0, 0, "rgb8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(size: int, height: int, width: int, step: int, encoding: str) -> None:
    with pytest.raises(BadImage, match="expected .* rows of at least .* bytes, got step"):
        rgb_from_bytes(bytes(size), height, width, step, encoding)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1", "bayer_rggb8", "yuv422", "", "RGB8"])
def test_other_encodings_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(BadImage, match=f"expected encoding rgb8, .*got '{encoding}'"):
        rgb_from_bytes(bytes(1000), HEIGHT, WIDTH, WIDTH * 4, encoding)


def test_png_is_exact_and_jpeg_is_close() -> None:
    rgb = picture()
    png = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(rgb_from_compressed(png), rgb)
    smooth = np.zeros((32, 32, 3), np.uint8)
    smooth[:] = (200, 60, 10)
    jpeg = cv2.imencode(".jpg", smooth[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    assert np.max(np.abs(rgb_from_compressed(jpeg).astype(int) - smooth)) <= 4


def test_grey_and_transparent_files_become_rgb() -> None:
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    np.testing.assert_array_equal(rgb_from_compressed(cv2.imencode(".png", grey)[1].tobytes()), np.stack([grey] * 3, axis=2))
    rgba = np.concatenate([picture()[..., ::-1], np.full((HEIGHT, WIDTH, 1), 9, np.uint8)], axis=2)
    np.testing.assert_array_equal(rgb_from_compressed(cv2.imencode(".png", rgba)[1].tobytes()), picture())


@pytest.mark.parametrize("data", [b"", b"\x00", b"not a picture at all", b"\xff\xd8\xff\xe0 broken"])
def test_broken_files_are_refused(data: bytes) -> None:
    with pytest.raises(BadImage, match=f"expected a JPEG or PNG image, got {len(data)} bytes"):
        rgb_from_compressed(data)


@pytest.mark.parametrize(("degrees", "corner"), [(0, (0, 0)), (90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_turns_are_clockwise(degrees: int, corner: tuple[int, int]) -> None:
    """The top left pixel of the sensor ends at this corner."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[0, 0] = 255
    turned = rotate(image, degrees)
    assert turned.shape[:2] == ((HEIGHT, WIDTH) if degrees in (0, 180) else (WIDTH, HEIGHT))
    assert turned[corner].tolist() == [255, 255, 255]
    assert int(turned.sum()) == 3 * 255
    assert turned.flags.c_contiguous


def test_another_size_than_the_contract_says_is_refused() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    check_size(image.shape, 240, 320)
    with pytest.raises(BadImage, match="expected 240x320 pixels as in the robot file, got 320x240"):
        check_size(image.shape, 320, 240)
