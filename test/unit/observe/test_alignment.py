"""Streams put together at one instant: who gives the instant, what belongs to it, and who is named when nothing does."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import quat_from_rotvec, rotvec_from_quat
from lawam_ros.observe.alignment import Aligned, NotAligned, align, joints_at, pose_at
from lawam_ros.observe.timed_buffer import TimedBuffer

MS = 1_000_000
BUDGETS = replace(load_contract("franka_pick_place").robot.budgets, camera_age_s=0.2, camera_joint_skew_s=0.05)


def images(*stamps_ms: int) -> TimedBuffer[str]:
    buffer: TimedBuffer[str] = TimedBuffer(20)
    for stamp in stamps_ms:
        buffer.push(stamp * MS, f"image {stamp}")
    return buffer


def joints(*stamps_ms: int) -> TimedBuffer[Mapping[str, float]]:
    """The angle in mrad is the time in ms."""
    buffer: TimedBuffer[Mapping[str, float]] = TimedBuffer(100)
    for stamp in stamps_ms:
        buffer.push(stamp * MS, {"j1": stamp * 1e-3, "j2": -stamp * 1e-3})
    return buffer


def test_reference_is_the_newest_image_of_the_slowest_camera() -> None:
    cameras = {"front": images(900, 950, 1000, 1050), "wrist": images(880, 980)}
    result = align(cameras, joints(960, 970, 980, 990), 1100 * MS, BUDGETS)
    assert isinstance(result, Aligned)
    assert result.stamp_ns == 980 * MS
    assert result.images == {"front": "image 950", "wrist": "image 980"}
    assert result.image_stamps_ns == {"front": 950 * MS, "wrist": 980 * MS}
    assert result.joints == {"j1": 0.98, "j2": -0.98}


def test_an_image_exactly_at_the_reference_is_taken() -> None:
    result = align({"front": images(900, 1000, 1050), "wrist": images(1000)}, joints(1000), 1050 * MS, BUDGETS)
    assert isinstance(result, Aligned)
    assert result.images == {"front": "image 1000", "wrist": "image 1000"}


def test_joints_between_two_messages_are_interpolated() -> None:
    result = align({"front": images(1000)}, joints(996, 1004), 1010 * MS, BUDGETS)
    assert isinstance(result, Aligned)
    assert result.joints == pytest.approx({"j1": 1.0, "j2": -1.0})


def named(result: object) -> str:
    assert isinstance(result, NotAligned)
    return f"{result.stream}: {result.reason}"


def test_a_missing_camera_is_named() -> None:
    assert named(align({"front": images(1000), "wrist": images()}, joints(1000), 1000 * MS, BUDGETS)) == "camera wrist: no image yet"


@pytest.mark.parametrize(("age_ms", "taken"), [(200, True), (201, False)])
def test_the_age_of_the_slowest_camera_is_bounded_and_it_is_named(age_ms: int, taken: bool) -> None:
    result = align({"front": images(1000, 1150), "wrist": images(1000)}, joints(1000), (1000 + age_ms) * MS, BUDGETS)
    if taken:
        assert isinstance(result, Aligned)
    else:
        assert named(result) == "camera wrist: newest image is 0.20 s old, budget 0.2 s"


def test_a_camera_without_an_image_near_the_reference_is_named() -> None:
    late_starter = {"front": images(1000), "wrist": images(1010)}
    result = align(late_starter, joints(1000), 1020 * MS, BUDGETS)
    assert named(result) == "camera wrist: no image near the reference time"
    gap = {"front": images(1000), "wrist": images(790, 1010)}
    assert named(align(gap, joints(1000), 1020 * MS, BUDGETS)) == "camera wrist: no image near the reference time"


def test_missing_joint_states_are_named() -> None:
    assert named(align({"front": images(1000)}, joints(), 1000 * MS, BUDGETS)).startswith("joint_states: none within 0.05 s")
    assert named(align({"front": images(1000)}, joints(940), 1000 * MS, BUDGETS)).startswith("joint_states")


@pytest.mark.parametrize(("stamp_ms", "expected"), [(999, None), (1000, 1.0), (1005, 1.005), (1010, 1.01), (1060, 1.01), (1061, None)])
def test_joints_at(stamp_ms: int, expected: float | None) -> None:
    """Exact, between, held for the skew after the newest, never before the oldest."""
    result = joints_at(joints(1000, 1010), stamp_ms * MS, 0.05)
    assert (result and result["j1"]) == (None if expected is None else pytest.approx(expected))


def test_joints_are_not_interpolated_over_a_gap() -> None:
    assert joints_at(joints(1000, 1101), 1050 * MS, 0.05) is None
    assert joints_at(joints(1000, 1100), 1050 * MS, 0.05) == pytest.approx({"j1": 1.05, "j2": -1.05})


def test_only_joints_of_both_neighbours_are_interpolated() -> None:
    buffer: TimedBuffer[Mapping[str, float]] = TimedBuffer(5)
    buffer.push(0, {"j1": 0.0, "finger": 1.0})
    buffer.push(10 * MS, {"j1": 1.0})
    assert joints_at(buffer, 5 * MS, 0.05) == {"j1": 0.5}


def poses(*samples: tuple[int, float]) -> TimedBuffer[Pose]:
    buffer: TimedBuffer[Pose] = TimedBuffer(20)
    for stamp_ms, value in samples:
        sign = -1.0 if stamp_ms % 20 else 1.0  # q and -q are one rotation: the sign on the wire may be either
        buffer.push(stamp_ms * MS, Pose(np.array([value, 2 * value, 0.0]), sign * quat_from_rotvec(np.array([0.0, 0.0, value]))))
    return buffer


def test_pose_between_two_messages() -> None:
    pose = pose_at(poses((1000, 0.2), (1010, 0.6)), round(1002.5 * MS), 0.05)
    assert pose is not None
    np.testing.assert_allclose(pose.position_m, [0.3, 0.6, 0.0], atol=1e-12)
    np.testing.assert_allclose(rotvec_from_quat(pose.quat_xyzw), [0.0, 0.0, 0.3], atol=1e-12)


@pytest.mark.parametrize(("stamp_ms", "expected"), [(999, None), (1000, 0.2), (1010, 0.6), (1060, 0.6), (1061, None)])
def test_pose_at_its_ends(stamp_ms: int, expected: float | None) -> None:
    pose = pose_at(poses((1000, 0.2), (1010, 0.6)), stamp_ms * MS, 0.05)
    assert (None if pose is None else pytest.approx(pose.position_m[0])) == expected
