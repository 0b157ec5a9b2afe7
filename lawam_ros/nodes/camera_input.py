"""Images of one camera as they arrive: judged at once, kept undecoded until one is used."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage

from lawam_ros.contract.robot import Camera, Robot
from lawam_ros.nodes import messages
from lawam_ros.nodes.images import ImageMessage, check_message
from lawam_ros.observe.camera_watch import CameraWatch, sampled
from lawam_ros.observe.image import BadImage, reduced_from_compressed
from lawam_ros.observe.timed_buffer import TimedBuffer


class CameraInput:
    """buffer: messages by exposure (stamp minus the latency of the camera, int ns of ROS time). stepped: a simulation owns time."""

    def __init__(self, camera: Camera, camera_age_s: float, future_stamp_s: float, stepped: bool) -> None:
        self._camera = camera
        self._latency_ns = 0 if stepped else round(camera.latency_s * 1e9)
        self._stepped = stepped
        self.buffer: TimedBuffer[ImageMessage] = TimedBuffer(frames_kept(camera.rate_hz, camera_age_s))
        self.watch = CameraWatch(camera.rate_hz, future_stamp_s)

    def arrived(self, message: ImageMessage, now_ns: int, joints: Mapping[str, float] | None) -> None:
        """Keep a frame or drop it. now_ns: ROS time; joints: newest measured positions by name."""
        stamp_ns = messages.nanoseconds(message.header.stamp)
        if self._stepped or self._keeps(message, stamp_ns, now_ns, joints):
            self.buffer.push(stamp_ns - self._latency_ns, message)

    def _keeps(self, message: ImageMessage, stamp_ns: int, now_ns: int, joints: Mapping[str, float] | None) -> bool:
        try:
            sample = self._sample(message)
        except BadImage as error:
            self.watch.refused(now_ns, str(error))
            return False
        return self.watch.frame(stamp_ns, now_ns, sample, joints)

    def _sample(self, message: ImageMessage) -> NDArray[np.uint8]:
        """What the watch looks at. Raises BadImage."""
        if isinstance(message, CompressedImage):
            return sampled(reduced_from_compressed(memoryview(message.data).cast("B")).data.cast("B"))
        check_message(message, self._camera)
        return sampled(memoryview(message.data).cast("B"))


class CameraInputs:
    """The cameras of a policy by name, and what is to be said of them."""

    def __init__(self, robot: Robot, names: Sequence[str], stepped: bool) -> None:
        budgets = robot.budgets
        self._stepped = stepped
        self._cameras = {name: CameraInput(robot.camera(name), budgets.camera_age_s, budgets.future_stamp_s, stepped) for name in names}
        self.buffers = {name: camera.buffer for name, camera in self._cameras.items()}

    def __getitem__(self, name: str) -> CameraInput:
        return self._cameras[name]

    def troubles(self, now_ns: int) -> dict[str, str]:
        """Cameras that cannot be used now, and why. Time that is stepped may stand still, which is no camera's fault."""
        found = {} if self._stepped else {name: camera.watch.problem(now_ns) for name, camera in self._cameras.items()}
        return {name: problem for name, problem in found.items() if problem}

    def warnings(self) -> dict[str, str]:
        return {name: camera.watch.warning() for name, camera in self._cameras.items() if camera.watch.warning()}

    def refusals(self) -> dict[str, str]:
        """Cameras whose pictures are not those of the robot file."""
        return {name: camera.watch.refusal for name, camera in self._cameras.items() if camera.watch.refusal}

    def dropped(self) -> dict[str, object]:
        return {f"dropped_images_{name}": camera.watch.dropped for name, camera in self._cameras.items()}


def in_words(cameras: Mapping[str, str]) -> str:
    return "; ".join(f"camera {name}: {text}" for name, text in cameras.items())


def frames_kept(rate_hz: float, camera_age_s: float) -> int:
    """Images of one camera to remember: those that a slower camera's newest, still young enough image may belong to."""
    return max(8, math.ceil(rate_hz * camera_age_s) + 2)
