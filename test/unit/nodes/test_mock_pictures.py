"""What the cameras of hardware:=mock show."""

from itertools import islice, pairwise

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.data.episode_schema import IMAGE_PREFIX
from lawam_ros.nodes import mock
from lawam_ros.observe.camera_watch import CameraWatch, sampled

CAMERA = load_contract("franka_pick_place").robot.cameras[0]


def test_a_test_card_is_no_frozen_black_or_saturated_camera():
    watch = CameraWatch(CAMERA.rate_hz, 0.05)
    for k, picture in enumerate(islice(mock.test_card(CAMERA), 40)):
        assert (picture.shape, picture.dtype) == ((CAMERA.height, CAMERA.width, 3), np.uint8)
        stamp_ns = k * 50_000_000
        assert watch.frame(stamp_ns, stamp_ns, sampled(memoryview(picture.tobytes())), {"joint": 0.1 * k})
        assert (watch.problem(stamp_ns), watch.warning()) == ("", "")


class Recording:
    """An episode of three frames."""

    def __init__(self, folder):
        self.frames = [np.full((CAMERA.height, CAMERA.width, 3), k, np.uint8) for k in range(3)]

    def __len__(self):
        return 2

    def frames_of(self, episode, key):
        assert (episode, key) == (1, IMAGE_PREFIX + CAMERA.name)
        return iter(self.frames)


def test_a_recording_is_shown_again_and_again(monkeypatch, tmp_path):
    monkeypatch.setattr(mock, "LeRobotDataset", Recording)
    shown = [int(picture[0, 0, 0]) for picture in islice(mock.recorded(f"{tmp_path}#1", CAMERA), 7)]
    assert shown == [0, 1, 2, 0, 1, 2, 0]
    assert all(a != b for a, b in pairwise(shown))


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ("folder#one", "expected <dataset folder>#<episode number>"),
        ("#1", "expected <dataset folder>#<episode number>"),
        ("folder#2", "expected an episode from 0 to 1 of folder, got 2"),
    ],
)
def test_a_wrong_recording_is_refused(monkeypatch, images, expected):
    monkeypatch.setattr(mock, "LeRobotDataset", Recording)
    with pytest.raises(UserMistake, match=expected):
        mock.recorded(images, CAMERA)


def test_pictures_of_another_size_are_refused(monkeypatch):
    class Small(Recording):
        def __init__(self, folder):
            super().__init__(folder)
            self.frames = [np.zeros((10, 20, 3), np.uint8)]

    monkeypatch.setattr(mock, "LeRobotDataset", Small)
    with pytest.raises(UserMistake, match=f"expected pictures of {CAMERA.width} x {CAMERA.height} of camera {CAMERA.name}, got 20 x 10"):
        mock.recorded("folder#1", CAMERA)
