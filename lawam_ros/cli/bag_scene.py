"""What can be seen of a recorded run, message after message: pictures with the chunk in them, subgoals, joints."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.wire import (
    BadMessage,
    ExecutorStatus,
    chunk_from_message,
    features_from_message,
    joint_positions,
    nanoseconds,
    status_from_message,
)
from lawam_ros.control.hand_paths import HandPath, hand_paths
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.link_frames import LinkFrames
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_streams import bag_streams, find_topic, picture
from lawam_ros.observe.timed_buffer import TimedBuffer
from lawam_ros.viz.camera_view import CameraView
from lawam_ros.viz.chunk_path import draw_path
from lawam_ros.viz.subgoal_views import SubgoalViews, ViewStyle

Rgb = NDArray[np.uint8]

_JOINTS_KEPT = 200


class BagScene:
    """distances: (stamp in ns, distance to the subgoal). measured: (stamp in ns, joints in robot order, rad). problems: in words."""

    def __init__(self, bag: Bag, contract: Contract, remap: Mapping[str, str]) -> None:
        robot, policy = contract.robot, contract.task.policy
        self._bag, self._contract = bag, contract
        urdf = (urdf_dir() / robot.urdf).read_text(encoding="utf-8")
        self._chains = {arm.name: Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame) for arm in robot.arms}
        links = LinkFrames(urdf)
        self._views = SubgoalViews(ViewStyle(), policy.horizon_s)
        self._cameras = {camera.name: CameraView(robot, camera, links) for camera in robot.cameras}
        self._frames: dict[str, Any] = {}
        self._halves: dict[str, Any] = {}
        self._joints: TimedBuffer[Mapping[str, float]] = TimedBuffer(_JOINTS_KEPT)
        self._paths: list[HandPath] = []
        self._foreseen = False
        self.status: ExecutorStatus | None = None
        self.distances: list[tuple[int, float]] = []
        self.measured: list[tuple[int, NDArray[np.float64]]] = []
        self.problems: set[str] = set()
        streams = bag_streams(bag.topics, robot, remap)
        self._film_camera = next((name for name in (*policy.primary_cameras, *streams.cameras) if name in streams.cameras), None)
        self._takers: dict[str, Callable[[Any], None]] = {}
        self._images = {topic.name: name for name, topic in streams.cameras.items()}
        infos = {name: find_topic(bag.topics, robot.camera(name).info_topic, remap) for name in streams.cameras}
        self._takers |= {topic.name: self._cameras[name].calibrate for name, topic in infos.items() if topic}
        halves = {half: find_topic(bag.topics, f"lawam/subgoal/{half}", remap) for half in ("current", "predicted")}
        self._takers |= {topic.name: partial(self._on_features, half) for half, topic in halves.items() if topic}
        single = ((streams.joint_states, self._on_joints), (streams.chunks, self._on_chunk), (streams.status, self._on_status))
        self._takers |= {topic.name: take for topic, take in single if topic}

    @property
    def topics(self) -> set[str]:
        """Of the bag, that are looked at."""
        return {*self._takers, *self._images}

    def frames(self, fps: float, with_images: bool, on_message: Callable[[], None]) -> Iterator[int]:
        """Plays the bag; the stamp (ns) of every picture that is due for a film, with everything before it taken, from when every camera
        has one. on_message: progress."""
        next_ns = 0
        for message in self._bag.messages(self.topics if with_images else set(self._takers)):
            on_message()
            try:
                decoded = self._bag.decode(message)
                if message.topic in self._takers:
                    self._takers[message.topic](decoded)
                    continue
            except ValueError as error:  # damaged, or features of two models
                self.problems.add(f"{message.topic}: {error}")
                continue
            camera, stamp_ns = self._images[message.topic], nanoseconds(decoded.header.stamp)
            self._frames[camera] = decoded
            if camera == self._film_camera and stamp_ns >= next_ns and len(self._frames) == len(self._images):
                next_ns = max(next_ns + round(1e9 / fps), stamp_ns)
                yield stamp_ns

    def tiles(self) -> list[tuple[str, Rgb | None]]:
        """Every camera with the chunk in it, then what is foreseen."""
        tiles = [(f"chunk, {name}", self._overlay(name)) for name in self._cameras if name in self._images.values()]
        primary = self._picture(self._contract.task.policy.primary_cameras[0])
        shown = primary if self._foreseen else None
        heatmap, change = (None, None) if shown is None else (self._views.heatmap(shown), self._views.change(shown))
        return [*tiles, ("subgoal similarity", heatmap), ("subgoal", change)]

    def _overlay(self, camera: str) -> Rgb | None:
        drawn = self._picture(camera)
        if drawn is None:
            return None
        exposed_ns = nanoseconds(self._frames[camera].header.stamp) - round(self._contract.robot.camera(camera).latency_s * 1e9)
        sample = self._joints.newest_until(exposed_ns) or self._joints.newest()
        try:
            for path in self._cameras[camera].paths_seen(self._paths, None if sample is None else sample.value, exposed_ns):
                draw_path(drawn, path)
        except (ValueError, KeyError) as error:
            self.problems.add(f"no path in camera {camera}: {error}")
        return drawn

    def _picture(self, camera: str) -> Rgb | None:
        try:
            return picture(self._frames[camera], self._contract.robot.camera(camera)) if camera in self._frames else None
        except BadMessage as error:
            self.problems.add(str(error))
            return None

    def _on_joints(self, message: Any) -> None:
        newest, joints = self._joints.newest(), joint_positions(message)
        stamp_ns = nanoseconds(message.header.stamp)
        self._joints.push(stamp_ns, {**({} if newest is None else newest.value), **joints})
        if all(name in joints for name in self._contract.robot.joint_names):
            self.measured.append((stamp_ns, np.array([joints[name] for name in self._contract.robot.joint_names])))

    def _on_chunk(self, message: Any) -> None:
        chunk, newest = chunk_from_message(message), self._joints.newest()
        resting_since_ns = (self.status.hold_since_ns or None) if self.status else None
        arrived_ns = chunk.stamp_ns if newest is None else newest.stamp_ns
        self._paths = hand_paths(self._contract.robot, self._chains, chunk, arrived_ns, resting_since_ns)

    def _on_status(self, message: Any) -> None:
        status = status_from_message(message)
        if self.status is None or status.epoch != self.status.epoch:
            self._views.begin()
            self._paths = []
        self.status = status

    def _on_features(self, half: str, message: Any) -> None:
        self._halves[half] = message
        stamps = {nanoseconds(one.header.stamp) for one in self._halves.values()}
        if len(self._halves) < 2 or len(stamps) > 1:
            return
        (current, grid), (predicted, _) = (features_from_message(self._halves.pop(name)) for name in ("current", "predicted"))
        self.distances.append((stamps.pop(), self._views.take(nanoseconds(message.header.stamp), current, predicted, grid)))
        self._foreseen = True
