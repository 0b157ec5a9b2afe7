"""View node: draws the policy's latent subgoal over the primary camera. Never on the inference path; works on the newest features only."""

import sys

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from lawam_ros.contract.errors import UserMistake
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.images import ImageMessage, image_to_rgb, image_type, rgb_to_image
from lawam_ros.nodes.managed import ManagedNode, run
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.status import status_from_message
from lawam_ros.observe.timed_buffer import TimedBuffer
from lawam_ros.viz.heatmap import HeatmapStyle, anchor_feature, overlay, similarity_map

LOW = Parameter("similarity_low", 0.4, "Cosine similarity drawn as the coldest colour.", low=-1.0, high=1.0)
HIGH = Parameter("similarity_high", 1.0, "Cosine similarity drawn as the hottest colour.", low=-1.0, high=1.0)
ALPHA = Parameter("alpha", 0.5, "Opacity of the heatmap over the image.", low=0.0, high=1.0)
ANCHOR_ROW = Parameter("anchor_row", 3, "Row of the anchor patch in the first features of an epoch.", low=0, high=255)
ANCHOR_COLUMN = Parameter("anchor_column", 7, "Column of the anchor patch.", low=0, high=255)
TABLE = (LOW, HIGH, ALPHA, ANCHOR_ROW, ANCHOR_COLUMN)


class SubgoalViewNode(ManagedNode):
    """Publishes ``lawam/subgoal/heatmap``; the anchor is fixed at the first query of each epoch, as in the official view."""

    def __init__(self) -> None:
        super().__init__("subgoal_view", TABLE)
        self._epoch = -1
        self._anchor_epoch = -1
        self._anchor: NDArray[np.float32] | None = None
        self._drawn = 0
        self._problem = ""

    def setup(self) -> None:
        contract = self.contract()
        self._camera = contract.robot.camera(contract.task.policy.primary_cameras[0])
        low, high, alpha = (float(self.get_parameter(entry.name).value) for entry in (LOW, HIGH, ALPHA))
        if low >= high:
            raise UserMistake(f"parameters: expected similarity_low below similarity_high, got {low:g} and {high:g}")
        self._latency_ns = round(self._camera.latency_s * 1e9)
        patch = (int(self.get_parameter("anchor_row").value), int(self.get_parameter("anchor_column").value))
        self._style = HeatmapStyle(low=low, high=high, alpha=alpha, anchor_patch=patch)
        self._frames: TimedBuffer[ImageMessage] = TimedBuffer(60)
        self._heatmap = self.create_publisher(Image, "lawam/subgoal/heatmap", qos.IMAGE_OUT)
        self.create_subscription(DiagnosticArray, "lawam/status", self._on_status, qos.LATCHED)
        self.create_subscription(image_type(self._camera), self._camera.topic, self._on_frame, qos.IMAGE_IN)
        self.create_subscription(Image, "lawam/subgoal/current", self._on_current, qos.IMAGE_IN)
        self.create_subscription(Image, "lawam/subgoal/predicted", self._on_predicted, qos.IMAGE_IN)

    def start(self) -> None:
        """Drawing follows the features; there is nothing to start."""

    def stop(self) -> None:
        """Nothing runs beside the subscriptions."""

    def teardown(self) -> None:
        self._anchor = None

    def report(self) -> tuple[str, dict[str, object]]:
        return self._problem, {"drawn": self._drawn, "anchor_epoch": self._anchor_epoch}

    def _on_status(self, message: DiagnosticArray) -> None:
        try:
            self._epoch = status_from_message(message).epoch
        except messages.BadMessage as error:
            self._problem = f"lawam/status: {error}"

    def _on_frame(self, message: ImageMessage) -> None:
        self._frames.push(messages.nanoseconds(message.header.stamp) - self._latency_ns, message)

    def _on_current(self, message: Image) -> None:
        if self._anchor is not None and self._anchor_epoch == self._epoch:
            return
        try:
            features, grid = _features(message)
            self._anchor, self._anchor_epoch = anchor_feature(features, grid, self._style.anchor_patch), self._epoch
        except ValueError as error:
            self._problem = f"lawam/subgoal/current: {error}"

    def _on_predicted(self, message: Image) -> None:
        stamp_ns = messages.nanoseconds(message.header.stamp)
        frame = self._frames.newest_until(stamp_ns)
        if self._anchor is None or frame is None:
            return
        try:
            rgb = image_to_rgb(frame.value, self._camera)
            features, grid = _features(message)
            drawn = overlay(rgb, similarity_map(features, self._anchor, grid), self._style)
        except ValueError as error:  # BadImage, or features that are not those of the anchor's model
            self._problem = f"lawam/subgoal/predicted: {error}"
            return
        self._problem = ""
        self._heatmap.publish(rgb_to_image(drawn, stamp_ns, frame.value.header.frame_id))
        self._drawn += 1


def _features(message: Image) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Features (tokens, F) of a 32FC1 message and their square grid. Raises ValueError for any other image."""
    if message.encoding != "32FC1" or message.is_bigendian or not 0 < len(message.data) == 4 * message.height * message.width:
        size = f"{message.height}x{message.width}"
        raise ValueError(f"expected a 32FC1 image of {size}, got {message.encoding} with {len(message.data)} bytes")
    features = np.frombuffer(memoryview(message.data).cast("B"), "<f4").reshape(message.height, message.width)
    side = round(message.height**0.5)
    if side * side != message.height:
        raise ValueError(f"expected a square grid of tokens, got {message.height}")
    return features, (side, side)


def main() -> int:
    return run(SubgoalViewNode)


if __name__ == "__main__":
    sys.exit(main())
