"""Modes of a Franka that keep it from obeying."""

import pytest

from lawam_ros.control.franka_mode import robot_trouble


@pytest.mark.parametrize(
    ("mode", "trouble"),
    [(0, ""), (1, ""), (2, ""), (3, "robot_guiding"), (4, "robot_reflex"), (5, "robot_user_stopped"), (6, "robot_recovering")],
)
def test_each_mode(mode, trouble):
    assert robot_trouble(mode) == trouble


def test_a_mode_that_nobody_knows_is_no_leave_to_move():
    assert robot_trouble(7) == "robot_mode_unknown"
