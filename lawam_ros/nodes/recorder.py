"""Recorder node: everything a run is made of into one bag. Whatever happens to the disk, the run goes on."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from lawam_ros.contract.recorded_topics import EPISODE_TOPIC, RECORDER_READY_TOPIC, RecordedTopic, recorded_topics
from lawam_ros.contract.robot import COMPRESSED
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.data.recording import Recording
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.images import compressed_image
from lawam_ros.nodes.lock_step import LOCKSTEP
from lawam_ros.nodes.managed import ManagedNode, run
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.observe.image import BadImage

BAG = Parameter("bag", "", "Folder of the bag; must not exist yet. Empty takes bags/<task>_<date>_<time>.")
COMPRESS = Parameter("compress_images", False, "Write raw images as JPEG, on the topic with /compressed behind its name.")
SUBGOALS = Parameter("subgoals", True, "Also the features of the subgoals, 0.3 MB and more per chunk.")
BRIDGE = Parameter(
    "bridge", False, "Also what a bridge is told, tells the robot and says of itself; set-points under recorded/, where nothing obeys them."
)
KEEP_FREE = Parameter("keep_free_mb", 256, "The recording ends when the disk has less room than this.", low=1, high=10_000_000)
TABLE = (BAG, COMPRESS, SUBGOALS, BRIDGE, KEEP_FREE, LOCKSTEP)

_MARKS = {"start_episode": "start", "end_episode": "end", "discard_episode": "discard"}


class RecorderNode(ManagedNode):
    """Takes the bytes of every topic of ``recorded_topics`` as they come; only images that are to be compressed are looked into."""

    def __init__(self) -> None:
        super().__init__("recorder", TABLE)
        self._recording: Recording | None = None
        self._heard: list[Subscription] = []
        self._was_active = False

    def setup(self) -> None:
        self._contract = self.contract()
        subgoals, bridged = (bool(self.get_parameter(name).value) for name in ("subgoals", "bridge"))
        self._topics = recorded_topics(self._contract.robot, subgoals, bridged)
        self._marks = self.create_publisher(String, EPISODE_TOPIC, qos.CHUNK)
        self._ready = self.create_publisher(String, RECORDER_READY_TOPIC, qos.LATCHED)
        self._mark_services = [self.create_service(Trigger, f"~/{name}", self._marker(mark)) for name, mark in _MARKS.items()]

    def start(self) -> None:
        folder = self._folder()
        writer = BagWriter(folder)
        listeners: list[tuple[RecordedTopic, str, bool]] = []
        for topic in self._topics:
            name = self.resolve_topic_name(topic.kept_as or topic.name)
            compress = bool(self.get_parameter("compress_images").value) and topic.driver and topic.type == "sensor_msgs/msg/Image"
            if compress:
                writer.add_topic(name + COMPRESSED, "sensor_msgs/msg/CompressedImage")
            else:
                writer.add_topic(name, topic.type, topic.latched)
            listeners.append((topic, name, compress))
        recording = self._recording = Recording(writer, int(self.get_parameter("keep_free_mb").value) * 2**20)
        self._heard = [subscription for listener in listeners for subscription in self._listen(recording, *listener)]
        self._ready.publish(String(data=str(folder)))
        self.get_logger().info(f"recording {folder}")

    def stop(self) -> None:
        for subscription in self._heard:
            self.destroy_subscription(subscription)
        if self._recording is not None:
            self._recording.stop()
            self.get_logger().info(self._recording.ended or f"{self._recording.count} messages in {self._recording.folder}")

    def teardown(self) -> None:
        self._recording = None

    def report(self) -> tuple[str, dict[str, object]]:
        recording = self._recording
        if recording is None:
            return "", {}
        values = {"bag": str(recording.folder), "messages": recording.count, "megabytes": recording.size_bytes / 1e6}
        return recording.ended, values | {"dropped": recording.dropped}

    def warning(self) -> str:
        dropped = self._recording.dropped if self._recording else 0
        return f"{dropped} messages dropped: the disk is too slow; record to another one, or with compress_images" if dropped else ""

    def _folder(self) -> Path:
        """A recorder that is activated again goes on in a bag of another name."""
        name = str(self.get_parameter("bag").value) or f"bags/{self._contract.task.name}_{time.strftime('%Y%m%d_%H%M%S')}"
        wanted = folder = Path(name).expanduser().resolve()
        number = 1
        while self._was_active and folder.exists():
            number += 1
            folder = wanted.with_name(f"{wanted.name}_{number}")
        self._was_active = True
        return folder

    def _listen(self, recording: Recording, topic: RecordedTopic, name: str, compress: bool) -> list[Subscription]:
        type_ = messages.message_class(topic.type)

        def take(raw: bytes) -> None:
            recording.take(name, time.time_ns(), raw)

        def take_compressed(raw: bytes) -> None:
            try:
                small = compressed_image(deserialize_message(raw, Image))
            except BadImage as error:
                self.get_logger().warning(f"image not recorded: {name}: {error}", throttle_duration_sec=2.0)
                return
            recording.take(name + COMPRESSED, time.time_ns(), serialize_message(small))

        callback = take_compressed if compress else take
        return [self.create_subscription(type_, topic.name, callback, profile, raw=True) for profile in self._profiles(topic)]

    def _profiles(self, topic: RecordedTopic) -> list[QoSProfile]:
        """What is latched and published by anybody is heard twice, like by the executor."""
        reliable = qos.RECORDED_LATCHED if topic.latched else qos.RECORDED
        if not topic.driver or (self.get_parameter("lockstep").value and not topic.latched):
            return [reliable]
        return [qos.RECORDED_DRIVER, reliable] if topic.latched else [qos.RECORDED_DRIVER]

    def _marker(self, mark: str) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        def publish(_: Trigger.Request, reply: Trigger.Response) -> Trigger.Response:
            self._marks.publish(String(data=mark))
            reply.success, reply.message = True, mark
            return reply

        return publish


def main() -> int:
    return run(RecorderNode)


if __name__ == "__main__":
    sys.exit(main())
