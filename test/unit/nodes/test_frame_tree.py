"""Frames that only TF knows."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from geometry_msgs.msg import TransformStamped

from lawam_ros.nodes.frame_tree import FrameTree


def transform(parent: str, child: str, x_m: float, quat_xyzw: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)) -> TransformStamped:
    stamped = TransformStamped(child_frame_id=child)
    stamped.header.frame_id = parent
    stamped.transform.translation.x = x_m
    q = stamped.transform.rotation
    q.x, q.y, q.z, q.w = quat_xyzw
    return stamped


def tree(*transforms: TransformStamped) -> FrameTree:
    made = FrameTree()
    made.take(SimpleNamespace(transforms=transforms))
    return made


def test_the_way_ends_at_the_first_link_of_the_robot() -> None:
    half = 0.5**0.5
    known = tree(
        transform("hand", "mount", 0.1, (0.0, 0.0, half, half)), transform("/mount", "/optical", 0.2), transform("base", "hand", 9.0)
    )
    link, T_link_frame = known.way_to({"hand", "base"}, "optical") or ("", np.eye(4))
    assert link == "hand"
    np.testing.assert_allclose(T_link_frame[:3, 3], [0.1, 0.2, 0.0], atol=1e-12)
    np.testing.assert_allclose(T_link_frame[:3, 0], [0.0, 1.0, 0.0], atol=1e-12)


def test_the_newest_word_counts() -> None:
    known = tree(transform("hand", "optical", 0.1))
    known.take(SimpleNamespace(transforms=[transform("hand", "optical", 0.3)]))
    _, T_link_frame = known.way_to({"hand"}, "optical") or ("", np.eye(4))
    assert T_link_frame[0, 3] == 0.3


def test_a_link_itself_and_no_way_at_all() -> None:
    known = tree(transform("world", "optical", 0.1), transform("a", "b", 0.0), transform("b", "a", 0.0))
    link, T_link_frame = known.way_to({"hand"}, "hand") or ("", np.zeros((4, 4)))
    assert link == "hand"
    np.testing.assert_array_equal(T_link_frame, np.eye(4))
    assert known.way_to({"hand"}, "optical") is None
    assert known.way_to({"hand"}, "a") is None, "frames that go in a circle end too"
