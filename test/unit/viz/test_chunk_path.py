"""Points in space land on the right pixels, and the path is drawn there."""

import cv2
import numpy as np
import pytest

from lawam_ros.viz.chunk_path import DONE, LATE, SOON, ChunkPath, draw_path, gripper_events, path_colour
from lawam_ros.viz.pinhole import FISHEYE, Pinhole

MATRIX = np.array([[300.0, 0, 320], [0, 310.0, 240], [0, 0, 1]])
POINTS = np.array([[0.0, 0.0, 1.0], [0.1, 0.0, 1.0], [0.0, 0.2, 2.0], [-0.4, 0.16, 0.8]])


def test_the_ideal_camera():
    pixels = Pinhole(640, 480, MATRIX).pixels(POINTS)
    np.testing.assert_allclose(pixels, [[320, 240], [350, 240], [320, 271], [170, 302]], atol=1e-9)


def test_what_is_behind_or_far_beside_is_out_of_sight():
    pixels = Pinhole(640, 480, MATRIX).pixels(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [9.0, 0.0, 1.0], [0.0, 0.0, 1.0]]))
    assert np.isnan(pixels[:3]).all() and np.isfinite(pixels[3]).all()


@pytest.mark.parametrize(
    ("model", "distortion"),
    [("plumb_bob", [-0.2, 0.05, 0.001, -0.002, 0.01]), ("rational_polynomial", [0.1, 0.02, 0.001, 0.002, 0.01, 0.05, 0.01, 0.002])],
)
def test_distortion_by_hand(model, distortion):
    """Brown's model with OpenCV's order of coefficients, as sensor_msgs/CameraInfo documents it."""
    k1, k2, p1, p2, k3, *more = distortion
    k4, k5, k6 = more or (0.0, 0.0, 0.0)
    x, y = (POINTS[:, :2] / POINTS[:, 2:]).T
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    expected = np.stack([300 * xd + 320, 310 * yd + 240], axis=1)
    np.testing.assert_allclose(Pinhole(640, 480, MATRIX, model, tuple(distortion)).pixels(POINTS), expected, atol=1e-6)


def test_a_fisheye_bends_by_the_angle():
    pixels = Pinhole(640, 480, MATRIX, FISHEYE, (0.0,) * 4).pixels(np.array([[1.0, 0.0, 1.0]]))
    np.testing.assert_allclose(pixels, [[320 + 300 * np.pi / 4, 240]], atol=1e-6)


@pytest.mark.parametrize("rotate_deg", [0, 90, 180, 270])
def test_pixels_turn_with_the_picture(rotate_deg):
    from lawam_ros.observe.image import rotate

    camera = Pinhole(640, 480, MATRIX, rotate_deg=rotate_deg)
    plain = Pinhole(640, 480, MATRIX).pixels(POINTS)
    for (x, y), (column, row) in zip(plain.round().astype(int), camera.pixels(POINTS).round().astype(int), strict=True):
        picture = np.zeros((480, 640, 3), np.uint8)
        picture[y, x] = 255
        assert rotate(picture, rotate_deg)[row, column, 0] == 255


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"matrix": np.zeros((3, 3))}, "calibrated camera"),
        ({"model": "omnidirectional"}, "expected distortion plumb_bob"),
        ({"distortion": (0.0,) * 3}, "'plumb_bob' with 3 numbers"),
    ],
)
def test_what_is_no_calibration_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        Pinhole(**({"width": 640, "height": 480, "matrix": MATRIX} | change))


def path(pixels, ahead_s=None, opening_m=None):
    count = len(pixels)
    return ChunkPath(
        np.array(pixels, dtype=float),
        np.linspace(0.05, 1.2, count) if ahead_s is None else np.array(ahead_s),
        np.full(count, 0.08) if opening_m is None else np.array(opening_m),
    )


def drawn(*arguments):
    picture = np.full((240, 320, 3), 90, np.uint8)
    draw_path(picture, path(*arguments))
    return picture


def test_the_line_runs_through_the_points_and_nowhere_else():
    picture = drawn([[50, 100], [150, 100], [250, 120]])
    changed = np.argwhere((picture != 90).any(axis=2))
    assert changed[:, 1].min() >= 40 and changed[:, 1].max() <= 260 and changed[:, 0].min() >= 90 and changed[:, 0].max() <= 130
    for x, y in ((60, 100), (140, 100), (200, 110)):
        assert picture[y, x].tolist() not in ([90, 90, 90], [20, 20, 20])


def test_colours_tell_the_time():
    assert path_colour(-0.1) == path_colour(0.0) == DONE
    assert path_colour(1.0) == path_colour(1.2) == LATE
    np.testing.assert_allclose(path_colour(1e-6), SOON, atol=1)
    picture = drawn([[50, 100], [150, 100], [250, 100]], [-0.5, -0.1, 1.0])
    assert picture[100, 100].tolist() == list(DONE) and picture[100, 200].tolist() == list(LATE)


def test_points_out_of_sight_interrupt_the_line():
    picture = drawn([[20, 100], [100, 100], [np.nan, np.nan], [200, 100], [280, 100]])
    assert (picture[:, 110:190] == 90).all() and (picture[:, 30:90] != 90).any() and (picture[:, 210:270] != 90).any()
    assert (drawn([[np.nan, np.nan]] * 3) == 90).all()


@pytest.mark.parametrize(
    ("opening_m", "events"),
    [
        ([0.08, 0.08, 0.06, 0.03, 0.03], [(1, True)]),
        ([0.0, 0.03, 0.08, 0.08, 0.04, 0.0], [(0, False), (3, True)]),
        ([0.04, 0.041, 0.040, 0.042, 0.041], []),
        ([0.04], []),
    ],
)
def test_where_the_gripper_moves(opening_m, events):
    assert gripper_events(np.array(opening_m)) == events


def test_closing_and_opening_look_different():
    pixels = [[50, 100], [150, 100], [250, 100]]
    still, closing, opening = (drawn(pixels, None, values) for values in ([0.04] * 3, [0.08, 0.08, 0.0], [0.0, 0.0, 0.08]))
    assert (closing != still).any() and (opening != still).any() and (closing != opening).any()


def test_a_path_costs_a_few_strokes(monkeypatch):
    """What keeps an overlay within its milliseconds: two lines per step and nothing that grows with the picture."""
    strokes = []
    line = cv2.line
    monkeypatch.setattr(cv2, "line", lambda *a: (strokes.append(1), line(*a))[1])
    draw_path(np.zeros((480, 640, 3), np.uint8), path(np.linspace([100, 100], [500, 400], 24)))
    assert len(strokes) == 2 * 23
