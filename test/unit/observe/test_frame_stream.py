"""Frames out of streams with stamps of their own: when they are taken, what counts as a fault, and how much is held."""

import weakref

from lawam_ros.contract.load import load_contract
from lawam_ros.observe.frame_stream import FrameStream

HZ, PERIOD_NS = 20.0, 50_000_000
BUDGETS = load_contract("franka_pick_place").robot.budgets


class Picture:
    """Something a weak reference can point to."""


def fed(stream: FrameStream, ticks: range, cameras: str = "ab", joints: bool = True) -> list:
    """Frames that come of images and joint states at every tick, 20 ms and 30 ms after it for the cameras b and a."""
    frames = []
    for tick in ticks:
        now_ns = 10**9 + tick * PERIOD_NS
        if joints:
            for part in range(5):
                stream.joints(now_ns + part * PERIOD_NS // 5, {"elbow": float(tick)})
        for camera in cameras:
            stream.image(camera, now_ns + (30_000_000 if camera == "a" else 20_000_000), Picture())
        frames += stream.ready()
    return frames


def stream_of_two() -> FrameStream:
    return FrameStream(["a", "b"], [], HZ, BUDGETS)


def test_a_frame_is_taken_when_every_stream_has_gone_past_it() -> None:
    stream = stream_of_two()
    assert fed(stream, range(1)) == []
    frames = fed(stream, range(1, 10))
    assert [frame.observation.stamp_ns for frame in frames] == [10**9 + tick * PERIOD_NS + 20_000_000 for tick in range(1, 9)]
    stream.end()
    assert stream.fault == "" and stream.frames == 8


def test_a_stream_that_is_missing_at_first_is_waited_for_and_images_do_not_pile_up() -> None:
    stream = stream_of_two()
    pictures = []
    image = stream.image
    stream.image = lambda camera, stamp_ns, picture: (pictures.append(weakref.ref(picture)), image(camera, stamp_ns, picture))
    assert fed(stream, range(400), joints=False) == []
    held = sum(picture() is not None for picture in pictures)
    assert len(pictures) == 800 and held < 100, "two seconds of two cameras"
    assert len(fed(stream, range(400, 420))) > 15 and stream.fault == ""


def test_a_camera_that_falls_silent_is_a_fault_and_is_not_waited_for() -> None:
    stream = stream_of_two()
    frames = fed(stream, range(10))
    frames += fed(stream, range(10, 60), cameras="a")
    assert "camera b" in stream.fault and "0.2" in stream.fault
    assert len(frames) == stream.frames < 16
    assert fed(stream, range(60, 70)) == []


def test_a_camera_silent_before_the_end_is_a_fault_also_of_a_recording_that_ends_soon() -> None:
    stream = stream_of_two()
    fed(stream, range(10))
    fed(stream, range(10, 20), cameras="a")
    assert stream.fault == ""
    stream.end()
    assert "camera b" in stream.fault
