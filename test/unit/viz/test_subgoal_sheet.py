import cv2
import numpy as np

from lawam_ros.viz.subgoal_sheet import subgoal_row, subgoal_sheet, write_png

FRAME = np.full((64, 64, 3), 100, np.uint8)


def features(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(16, 8)).astype(np.float32)


def test_a_perfect_prediction_shows_no_error_and_the_same_map() -> None:
    now, true = features(0), features(1)
    row = subgoal_row(FRAME, now, true, true, (4, 4))
    assert row.shape == (64, 256, 3)
    np.testing.assert_array_equal(row[:, :64], FRAME)
    np.testing.assert_array_equal(row[:, 64:128], row[:, 128:192])
    dark_blue = row[0, 192]
    assert (row[:, 192:] == dark_blue).all() and dark_blue[2] > dark_blue[0]


def test_the_error_shows_where_the_prediction_is_wrong() -> None:
    now, true = features(0), features(1)
    predicted = true.copy()
    predicted[5] += 50.0
    error = subgoal_row(FRAME, now, true, predicted, (4, 4))[:, 192:]
    assert error[24, 24, 0] > error[24, 24, 2] and error[8, 8, 2] > error[8, 8, 0]


def test_a_sheet_is_written_in_colour(tmp_path) -> None:
    row = subgoal_row(FRAME, features(0), features(1), features(2), (4, 4))
    sheet = subgoal_sheet([row, row])
    assert sheet.shape == (24 + 128, 256, 3)
    write_png(tmp_path / "sub" / "sheet.png", sheet)
    np.testing.assert_array_equal(cv2.cvtColor(cv2.imread(str(tmp_path / "sub" / "sheet.png")), cv2.COLOR_BGR2RGB), sheet)
