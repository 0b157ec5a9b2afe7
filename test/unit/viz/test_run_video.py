"""Frames of the demo video."""

import numpy as np

from lawam_ros.viz.run_video import path_panel, strip

LOWER, UPPER = np.array([0.2, -0.5, 0.0]), np.array([0.8, 0.5, 0.8])


def test_a_strip_holds_the_three_panels_untouched() -> None:
    rng = np.random.default_rng(0)
    panels = [rng.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(3)]
    picture = strip(panels[0], panels[1], panels[2], "caption")
    assert picture.shape == (24 + 240 + 24, 960, 3)
    assert picture.dtype == np.uint8
    for i, panel in enumerate(panels):
        np.testing.assert_array_equal(picture[24:264, 320 * i : 320 * (i + 1)], panel)
    without = strip(panels[0], None, panels[2], "caption")
    assert without.shape == picture.shape
    assert int(np.median(without[24:264, 320:640])) == 128


def drawn(path: np.ndarray, plan: np.ndarray | None = None) -> np.ndarray:
    """Where a panel differs from an empty one: rows and columns of pixels."""
    empty = path_panel([np.empty((0, 3))], [], LOWER, UPPER, (240, 320))
    panel = path_panel([path], [] if plan is None else [plan], LOWER, UPPER, (240, 320))
    assert panel.shape == (240, 320, 3)
    return np.argwhere(np.any(panel != empty, axis=2))


def centre(pixels: np.ndarray, rows: slice) -> np.ndarray:
    """Mean row and column of the pixels in some rows."""
    return pixels[(pixels[:, 0] >= rows.start) & (pixels[:, 0] < rows.stop)].mean(axis=0)


def test_forward_is_down_left_is_right_and_height_is_up() -> None:
    middle = 0.5 * (LOWER + UPPER)
    for axis, step in ((0, np.array([1, 0])), (1, np.array([0, 1])), (2, np.array([-1, 0]))):
        point = middle.copy()
        point[axis] += 0.1
        half = slice(120, 240) if axis == 2 else slice(0, 120)
        here, there = (centre(drawn(p[None]), half) for p in (middle, point))
        moved = there - here
        assert np.sign(np.round(moved)).astype(int).tolist() == step.tolist()


def test_a_plan_is_drawn_beside_the_path() -> None:
    path = np.linspace([0.3, -0.2, 0.2], [0.5, 0.0, 0.4], 20)
    assert len(drawn(path, path + 0.1)) > len(drawn(path)) > len(drawn(path[:1])) > 0


def test_every_arm_has_its_path() -> None:
    left, right = (np.linspace([0.3, y, 0.2], [0.5, y, 0.4], 20) for y in (-0.2, 0.2))
    both = path_panel([left, right], [], LOWER, UPPER, (240, 320))
    alone = [path_panel([path], [], LOWER, UPPER, (240, 320)) for path in (left, right)]
    np.testing.assert_array_equal(both, np.minimum(*alone))
