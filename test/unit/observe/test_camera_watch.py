"""Each fault of a camera: in how many frames it is told, what becomes of the frames, and that it is over when it is over."""

import numpy as np
import pytest

from lawam_ros.observe.camera_watch import CameraWatch, sampled

MS = 1_000_000
PERIOD = 50 * MS
RNG = np.random.default_rng(7)


class Camera:
    """20 frames a second of noise, a millisecond under way, beside an arm that moves or stands."""

    def __init__(self):
        self.watch = CameraWatch(20.0, 0.05)
        self.now = 10_000 * MS
        self.joint = 0.0
        self.picture = sampled(bytes(3000))

    def frame(self, stamp=None, picture=None, moved=0.03):
        self.now += PERIOD
        self.joint += moved
        self.picture = RNG.integers(40, 200, 3000, dtype=np.uint8) if picture is None else picture
        return self.watch.frame(self.now - MS if stamp is None else stamp, self.now, self.picture, {"joint1": self.joint})

    @property
    def problem(self):
        return self.watch.problem(self.now)


@pytest.fixture
def camera():
    made = Camera()
    for _ in range(5):
        assert made.frame()
    assert (made.problem, made.watch.warning(), made.watch.dropped) == ("", "", 0)
    return made


def test_nothing_is_said_of_a_camera_that_never_came():
    assert CameraWatch(20.0, 0.05).problem(10**18) == ""


def test_silence_is_told_after_two_periods_and_over_with_the_next_frame(camera):
    camera.now += 2 * PERIOD
    assert camera.problem == ""
    camera.now += MS
    assert camera.problem == "no frame for 0.10 s, expected one every 0.050 s"
    assert camera.frame() and camera.problem == ""


def test_a_stamp_that_stands_still_is_told_with_the_third_frame(camera):
    stamp = camera.now - MS
    kept = [camera.frame(stamp=stamp, picture=camera.picture) for _ in range(2)]
    assert kept == [False, False], "the first frame with the stamp was good"
    assert camera.problem == "frozen: 3 frames with one stamp"
    assert camera.frame() and camera.problem == ""


def test_a_picture_that_stands_still_is_told_with_the_third_frame_while_the_arm_moves(camera):
    assert [camera.frame(picture=camera.picture) for _ in range(3)] == [True, False, False]
    assert camera.problem == "frozen: 4 equal frames while the arm moved"
    assert camera.frame() and camera.problem == ""


def test_the_picture_of_an_arm_at_rest_may_stand_still(camera):
    assert all(camera.frame(picture=camera.picture, moved=0.0) for _ in range(100))
    assert camera.problem == ""
    assert not camera.frame(picture=camera.picture, moved=0.06), "now something should have changed"


@pytest.mark.parametrize(
    ("offset_ms", "said"),
    [
        (60, "stamped 0.06 s in the future"),
        (10_000, "stamped 10.00 s in the future"),
        (-110, "stamped 0.059 s before the frame before"),
        (-540, "stamped 0.489 s before the frame before"),
    ],
)
def test_a_frame_with_a_wrong_stamp_is_dropped_and_the_next_good_one_taken(camera, offset_ms, said):
    assert not camera.frame(stamp=camera.now + PERIOD + offset_ms * MS)
    assert said in camera.watch.warning()
    assert camera.watch.dropped == 1
    assert camera.frame()
    assert (camera.watch.warning(), camera.problem) == ("", "")


def test_a_clock_set_far_back_starts_anew(camera):
    camera.now -= 3600_000 * MS
    assert camera.frame() and camera.frame()


def test_bytes_that_are_no_picture_are_an_error_after_three(camera):
    for count in range(1, 4):
        camera.now += PERIOD
        camera.watch.refused(camera.now, "expected encoding rgb8, got 'yuv'")
        assert (camera.watch.refusal != "") == (count == 3)
        assert (camera.watch.warning() != "") == (count < 3)
    assert camera.problem == "expected encoding rgb8, got 'yuv'"
    assert camera.frame() and camera.problem == ""


@pytest.mark.parametrize(("value", "look"), [(0, "black"), (3, "black"), (255, "saturated"), (252, "saturated")])
def test_a_uniform_picture_is_a_warning_after_five_frames(camera, value, look):
    for count in range(1, 6):
        dark = np.full(3000, value, np.uint8)
        dark[count] ^= 1
        assert camera.frame(picture=dark), "it may be night"
        assert (camera.watch.warning() == f"{look} for 5 frames") == (count == 5)
    assert camera.problem == ""
    assert camera.frame() and camera.watch.warning() == ""


def test_where_the_robot_file_says_so_a_uniform_picture_is_of_no_use(camera):
    camera.watch = CameraWatch(20.0, 0.05, refuse_uniform=True)
    dark = [np.full(3000, 2, np.uint8) for _ in range(6)]
    for count, picture in enumerate(dark):
        picture[count] ^= 1
        assert camera.frame(picture=picture) == (count < 4)
    assert camera.problem == "black for 6 frames" and camera.watch.dropped == 2
    assert camera.frame() and (camera.problem, camera.watch.warning()) == ("", "")


def test_samples_tell_pictures_apart_and_hold_all_colours():
    picture = np.zeros((480, 640, 3), np.uint8)
    sample = sampled(picture.tobytes())
    assert 40_000 < len(sample) < 70_000
    for channel in range(3):
        changed = picture.copy()
        changed[200:220, 300:320, channel] = 9
        assert (sampled(changed.tobytes()) != sample).any()
