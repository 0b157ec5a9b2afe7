"""Images of one camera as they arrive: judged at once, kept undecoded until one is used."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage

from lawam_ros.contract.robot import Camera, Robot
from lawam_ros.control.stream_rate import StreamRate
from lawam_ros.nodes import messages
from lawam_ros.nodes.images import ImageMessage, check_message, image_to_rgb
from lawam_ros.observe.camera_watch import CameraWatch, sampled
from lawam_ros.observe.image import BadImage, reduced_from_compressed
from lawam_ros.observe.timed_buffer import TimedBuffer


class CameraInput:
    """buffer: messages by exposure (stamp minus the latency of the camera, int ns of ROS time). stepped: a simulation owns time."""

    def __init__(self, robot: Robot, camera: Camera, stepped: bool) -> None:
        self._camera = camera
        self._latency_ns = 0 if stepped else round(camera.latency_s * 1e9)
        self._stepped = stepped
        kept = frames_kept(camera.rate_hz, robot.budgets.camera_age_s)
        self.buffer: TimedBuffer[ImageMessage] = TimedBuffer(kept)
        self._arrivals: TimedBuffer[int] = TimedBuffer(kept)
        self.watch = CameraWatch(camera.rate_hz, robot.budgets.future_stamp_s, robot.safety.uniform_image == "hold")
        self.rate = StreamRate()

    def arrived(self, message: ImageMessage, now_ns: int, joints: Mapping[str, float] | None) -> None:
        """Keep a frame or drop it. now_ns: ROS time; joints: newest measured positions by name."""
        stamp_ns = messages.nanoseconds(message.header.stamp)
        self.rate.heard(now_ns)
        if self._stepped or self._keeps(message, stamp_ns, now_ns, joints):
            self._arrivals.push(stamp_ns - self._latency_ns, now_ns)
            self.buffer.push(stamp_ns - self._latency_ns, message)

    def arrival_ns(self, exposure_ns: int) -> int:
        """When the frame exposed at ``exposure_ns`` arrived; that instant itself for a frame no longer remembered."""
        frame = self._arrivals.newest_until(exposure_ns)
        return frame.value if frame is not None and frame.stamp_ns == exposure_ns else exposure_ns

    def rgb(self, message: ImageMessage, now_ns: int) -> NDArray[np.uint8]:
        """The picture of a frame. Raises BadImage, which the watch hears of too."""
        try:
            return image_to_rgb(message, self._camera)
        except BadImage as error:
            self.watch.refused(now_ns, str(error))
            raise BadImage(f"camera {self._camera.name}: {error}") from error

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
        self._stepped = stepped
        self._cameras = {name: CameraInput(robot, robot.camera(name), stepped) for name in names}
        self.buffers = {name: camera.buffer for name, camera in self._cameras.items()}

    def __getitem__(self, name: str) -> CameraInput:
        return self._cameras[name]

    def arrival_ns(self, exposures_ns: Mapping[str, int]) -> int:
        """When the last frame of a set arrived. exposures_ns: camera -> stamp of its frame in the set."""
        return max(self._cameras[name].arrival_ns(stamp_ns) for name, stamp_ns in exposures_ns.items())

    def troubles(self, now_ns: int) -> dict[str, str]:
        """Cameras that cannot be used now, and why. Time that is stepped may stand still, which is no camera's fault."""
        found = {} if self._stepped else {name: camera.watch.problem(now_ns) for name, camera in self._cameras.items()}
        return {name: problem for name, problem in found.items() if problem}

    def warnings(self) -> dict[str, str]:
        return {name: camera.watch.warning() for name, camera in self._cameras.items() if camera.watch.warning()}

    def refusals(self) -> dict[str, str]:
        """Cameras whose pictures are not those of the robot file."""
        return {name: camera.watch.refusal for name, camera in self._cameras.items() if camera.watch.refusal}

    def report(self, now_ns: int) -> dict[str, object]:
        """Frames dropped, rate and age of every camera."""
        values: dict[str, object] = {f"dropped_images_{name}": camera.watch.dropped for name, camera in self._cameras.items()}
        for name, camera in self._cameras.items():
            values |= camera.rate.report(f"camera_{name}", now_ns)
        return values


def in_words(cameras: Mapping[str, str]) -> str:
    return "; ".join(f"camera {name}: {text}" for name, text in cameras.items())


def frames_kept(rate_hz: float, camera_age_s: float) -> int:
    """Images of one camera to remember: those that a slower camera's newest, still young enough image may belong to."""
    return max(8, math.ceil(rate_hz * camera_age_s) + 2)
