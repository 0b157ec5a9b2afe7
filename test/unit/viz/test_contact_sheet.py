"""Sheets of small pictures."""

import numpy as np
import pytest

from lawam_ros.viz.contact_sheet import contact_sheet


def test_pictures_lie_in_rows_above_their_captions():
    pictures = [np.full((20, 30, 3), 10 * i, np.uint8) for i in range(7)]
    sheet = contact_sheet(pictures, [(f"seed {i}", "") for i in range(7)], columns=3)
    assert sheet.shape == (3 * 54, 90, 3)
    assert (sheet[54:74, 30:60] == 40).all(), "the fifth picture"
    assert (sheet[20:54, :30] < 250).any(), "its caption is drawn"
    assert (sheet[-54:, 30:] >= 247).all(), "paper where no picture is"


def test_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="one size"):
        contact_sheet([], [])
    with pytest.raises(ValueError, match="one size"):
        contact_sheet([np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)], [("", "")] * 2)
