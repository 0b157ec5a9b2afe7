"""View node: what the policy foresees, and where it sends the arm. A process of its own, so that drawing never delays an inference.

Subscriptions hold one message each: pictures that come faster than they are drawn are left out, never queued.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.view_topics import SUBGOAL_PICTURES
from lawam_ros.control.hand_paths import HandPath, hand_paths
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.link_frames import LinkFrames
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.camera_overlay import CameraOverlay
from lawam_ros.nodes.frame_tree import FrameTree
from lawam_ros.nodes.images import ImageMessage, image_to_rgb, image_type, rgb_to_image
from lawam_ros.nodes.managed import ManagedNode, run
from lawam_ros.nodes.markers import markers
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.priority import AFTER_OTHERS, prefer
from lawam_ros.nodes.status import status_from_message
from lawam_ros.observe.timed_buffer import TimedBuffer
from lawam_ros.viz.heatmap import HeatmapStyle
from lawam_ros.viz.subgoal_views import SubgoalViews, ViewStyle

LOW = Parameter("similarity_low", 0.4, "Cosine similarity drawn as the coldest colour.", low=-1.0, high=1.0)
HIGH = Parameter("similarity_high", 1.0, "Cosine similarity drawn as the hottest colour.", low=-1.0, high=1.0)
ALPHA = Parameter("alpha", 0.5, "Opacity of heatmap and change map over the image.", low=0.0, high=1.0)
ANCHOR_ROW = Parameter("anchor_row", 3, "Row of the anchor patch in the first features of an epoch.", low=0, high=255)
ANCHOR_COLUMN = Parameter("anchor_column", 7, "Column of the anchor patch.", low=0, high=255)
CHANGE_HIGH = Parameter("change_high", 1.4, "Change drawn as the hottest colour, in lengths of a typical feature.", low=0.01, high=10.0)
CHANGE_BIAS = Parameter("remove_change_bias", True, "Take out of the change map what every prediction of the last ones shows.")
TABLE = (LOW, HIGH, ALPHA, ANCHOR_ROW, ANCHOR_COLUMN, CHANGE_HIGH, CHANGE_BIAS)

DISTANCE = "subgoal_distance"
"""The one name in ``lawam/subgoal/distance``."""

_FRAMES_KEPT = 60
_JOINTS_KEPT = 200


class SubgoalViewNode(ManagedNode):
    """Pictures under ``lawam/subgoal`` and ``lawam/overlay``, and ``lawam/markers``; anchor and colours last for an epoch."""

    def __init__(self) -> None:
        super().__init__("subgoal_view", TABLE)
        self._epoch = -1
        self._resting_since_ns: int | None = None
        self._drawn = 0
        self._distance = float("nan")
        self._problems: dict[str, str] = {}
        self._overlays: dict[str, CameraOverlay] = {}

    def setup(self) -> None:
        contract = self._contract = self.contract()
        robot, policy = contract.robot, contract.task.policy
        self._views = SubgoalViews(self._style(), policy.horizon_s)
        self._frames: dict[str, TimedBuffer[ImageMessage]] = {name: TimedBuffer(_FRAMES_KEPT) for name in policy.primary_cameras}
        self._joints: TimedBuffer[Mapping[str, float]] = TimedBuffer(_JOINTS_KEPT)
        self._halves: dict[str, Image] = {}
        self._paths: list[HandPath] = []
        urdf = (urdf_dir() / robot.urdf).read_text(encoding="utf-8")
        self._chains = {arm.name: Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame) for arm in robot.arms}
        links, tree = LinkFrames(urdf), FrameTree()
        tree.listen(self)
        self._pictures = {name: self.create_publisher(Image, f"lawam/subgoal/{name}", qos.IMAGE_OUT) for name in SUBGOAL_PICTURES}
        self._distances = self.create_publisher(JointState, "lawam/subgoal/distance", qos.REFERENCE)
        self._markers = self.create_publisher(MarkerArray, "lawam/markers", qos.LATCHED)
        self._markers.publish(markers(robot, []))
        self._overlays = {camera.name: CameraOverlay(self, robot, camera, links, tree) for camera in robot.cameras}
        subscribe = self.create_subscription
        subscribe(DiagnosticArray, "lawam/status", self._on_status, qos.LATCHED)
        subscribe(JointState, robot.joint_states_topic, self._on_joint_states, qos.SENSOR)
        subscribe(JointTrajectory, "lawam/action_chunk", self._on_chunk, qos.CHUNK)
        for camera in robot.cameras:
            subscribe(image_type(camera), camera.topic, partial(self._on_frame, camera.name), qos.IMAGE_IN)
        for half in ("current", "predicted"):
            subscribe(Image, f"lawam/subgoal/{half}", partial(self._on_features, half), qos.IMAGE_IN)

    def start(self) -> None:
        """Drawing follows the messages; there is nothing to start."""

    def stop(self) -> None:
        """Nothing runs beside the subscriptions."""

    def teardown(self) -> None:
        self._overlays = {}

    def report(self) -> tuple[str, dict[str, object]]:
        problems = {name: text for name, text in self._problems.items() if text}
        values: dict[str, object] = {"drawn": self._drawn, "epoch": self._epoch, "distance": self._distance}
        values |= {f"overlays_{name}": overlay.drawn for name, overlay in self._overlays.items()}
        return "; ".join(f"{name}: {text}" for name, text in problems.items()), values

    def warning(self) -> str:
        """A picture without the path in it is still a picture."""
        return "; ".join(f"lawam/overlay/{name}: {overlay.problem}" for name, overlay in self._overlays.items() if overlay.problem)

    def _style(self) -> ViewStyle:
        low, high, alpha, change_high = (float(self.get_parameter(entry.name).value) for entry in (LOW, HIGH, ALPHA, CHANGE_HIGH))
        if low >= high:
            raise UserMistake(f"parameters: expected similarity_low below similarity_high, got {low:g} and {high:g}")
        patch = (int(self.get_parameter("anchor_row").value), int(self.get_parameter("anchor_column").value))
        remove_bias = bool(self.get_parameter("remove_change_bias").value)
        return ViewStyle(HeatmapStyle(low=low, high=high, alpha=alpha, anchor_patch=patch), change_high, remove_bias)

    def _on_status(self, message: DiagnosticArray) -> None:
        try:
            status = status_from_message(message)
            self._problems["lawam/status"] = ""
        except messages.BadMessage as error:
            self._problems["lawam/status"] = str(error)
            return
        self._resting_since_ns = status.hold_since_ns or None
        if status.epoch != self._epoch:
            self._epoch = status.epoch
            self._views.begin()
            self._show_paths([])

    def _on_joint_states(self, message: JointState) -> None:
        try:
            joints = messages.joint_positions(message)
        except messages.BadMessage as error:
            self._problems[self._contract.robot.joint_states_topic] = str(error)
            return
        newest = self._joints.newest()
        # Arms and grippers may come in messages of their own; each keeps its last word.
        self._joints.push(messages.nanoseconds(message.header.stamp), {**({} if newest is None else newest.value), **joints})

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            chunk = messages.chunk_from_message(message)
            self._problems["lawam/action_chunk"] = ""
        except messages.BadMessage as error:
            self._problems["lawam/action_chunk"] = f"expected a chunk, these do not fit: {error}"
            return
        if chunk.epoch == self._epoch:
            # The newest joint states tell the time of the stamps, which in lock step is not the clock's.
            newest = self._joints.newest()
            arrived_ns = self.get_clock().now().nanoseconds if newest is None else newest.stamp_ns
            self._show_paths(hand_paths(self._contract.robot, self._chains, chunk, arrived_ns, self._resting_since_ns))

    def _show_paths(self, paths: list[HandPath]) -> None:
        self._paths = paths
        self._markers.publish(markers(self._contract.robot, paths))

    def _on_frame(self, camera: str, message: ImageMessage) -> None:
        exposed_ns = messages.nanoseconds(message.header.stamp) - round(self._contract.robot.camera(camera).latency_s * 1e9)
        if camera in self._frames:
            self._frames[camera].push(exposed_ns, message)
        if self._overlays[camera].watched:
            self._overlays[camera].draw(message, exposed_ns, self._paths, self._joints_at(exposed_ns))

    def _joints_at(self, stamp_ns: int) -> Mapping[str, float] | None:
        sample = self._joints.newest_until(stamp_ns) or self._joints.newest()
        return None if sample is None else sample.value

    def _on_features(self, half: str, message: Image) -> None:
        self._halves[half] = message
        if len(self._halves) < 2 or len({messages.nanoseconds(one.header.stamp) for one in self._halves.values()}) > 1:
            return
        try:
            (current, grid), (predicted, _) = (_features(self._halves, name) for name in ("current", "predicted"))
            stamp_ns = messages.nanoseconds(message.header.stamp)
            self._distance = self._views.take(stamp_ns, current, predicted, grid)
            self._distances.publish(JointState(header=messages.header(stamp_ns), name=[DISTANCE], position=[float(self._distance)]))
            self._draw(stamp_ns, message.header.frame_id)
            self._problems.pop("lawam/subgoal", None)
        except ValueError as error:  # BadMessage, BadImage, or features that do not belong together
            self._problems["lawam/subgoal"] = str(error)
        self._halves = {}

    def _draw(self, stamp_ns: int, camera: str) -> None:
        """Publish the pictures that somebody looks at. Raises ValueError."""
        if camera not in self._frames:
            raise ValueError(f"expected features of a primary camera ({', '.join(self._frames)}) in header.frame_id, got {camera!r}")
        frame = self._frames[camera].newest_until(stamp_ns)
        if frame is None:
            return
        rgb = image_to_rgb(frame.value, self._contract.robot.camera(camera))
        draw: dict[str, Callable[[], NDArray[np.uint8]]] = {
            "heatmap": lambda: self._views.heatmap(rgb),
            "change": lambda: self._views.change(rgb),
            "pca": lambda: self._views.components(rgb.shape[:2]),
        }
        for name, publisher in self._pictures.items():
            if publisher.get_subscription_count() > 0:
                publisher.publish(rgb_to_image(draw[name](), stamp_ns, frame.value.header.frame_id))
        self._drawn += 1


def _features(halves: Mapping[str, Image], name: str) -> tuple[NDArray[np.float32], tuple[int, int]]:
    try:
        return messages.features_from_message(halves[name])
    except messages.BadMessage as error:
        raise messages.BadMessage(f"{name}: {error}") from error


def main() -> int:
    prefer(AFTER_OTHERS)
    return run(SubgoalViewNode)


if __name__ == "__main__":
    sys.exit(main())
