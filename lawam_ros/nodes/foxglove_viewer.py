"""Topics to the Foxglove app over its websocket: messages go on as the bytes they are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from lawam_ros.contract.errors import EnvironmentLacks
from lawam_ros.contract.recorded_topics import RecordedTopic, recorded_topics
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.view_topics import view_topics
from lawam_ros.contract.viewers import viewer_address
from lawam_ros.control.link_frames import LinkFrames
from lawam_ros.control.scalar_rotations import from_matrix
from lawam_ros.data.message_definitions import message_definition
from lawam_ros.nodes import messages, qos

Array = NDArray[np.float64]

_LOOK_S = 0.25
_BACKLOG = 32
"""Messages kept for a client that is slow: it shall see what is, not what was."""


@dataclass
class _Forwarded:
    """A topic, its channel, and the subscription while a client looks."""

    topic: RecordedTopic
    channel: Any
    subscription: Subscription | None = None


class FoxgloveViewer:
    """A topic is subscribed only while a client looks at it, so that pictures nobody sees are not even drawn."""

    def __init__(self, node: Node, robot: Robot, links: LinkFrames, host: str, port: int) -> None:
        """Raises EnvironmentLacks without the library, or where the port is taken."""
        try:
            import foxglove
            from foxglove.channels import FrameTransformsChannel
        except ImportError as error:
            raise EnvironmentLacks(
                f"viewer:=foxglove needs the package foxglove-sdk ({error}); pip install 'lawam_ros[viewers]'"
            ) from error
        self._node, self._count = node, 0
        self._parents = {joint.child: joint.parent for joint in links.joints}
        # Kept, because its channels vanish with it.
        self._context = context = foxglove.Context()
        self._topics = [_Forwarded(topic, self._channel(foxglove, context, topic)) for topic in shown_topics(robot)]
        self._frames = FrameTransformsChannel("/lawam/links", context=context)
        try:
            self._server = foxglove.start_server(name="lawam_ros", host=host, port=port, context=context, message_backlog_size=_BACKLOG)
        except Exception as error:  # the library has no class of its own for it
            raise EnvironmentLacks(f"expected to serve Foxglove at {host}:{port}, got: {error}; choose another port") from error
        self.address = viewer_address("foxglove", host, port)
        self._timer = node.create_timer(_LOOK_S, self._look)

    def links(self, relative: Mapping[str, Array], stamp_ns: int) -> None:
        if not self._frames.has_sinks():
            return
        self._frames.log(frame_transforms(self._parents, relative, stamp_ns))

    def report(self) -> dict[str, object]:
        watched = [one.topic.name for one in self._topics if one.subscription is not None]
        return {"forwarded": self._count, "watched": " ".join(watched)}

    def close(self) -> None:
        self._node.destroy_timer(self._timer)
        self._server.stop()

    def _look(self) -> None:
        """Subscriptions follow what the clients look at."""
        for one in self._topics:
            wanted = one.channel.has_sinks()
            if wanted and one.subscription is None:
                one.subscription = self._node.create_subscription(
                    messages.message_class(one.topic.type), one.topic.name, self._forward(one.channel), _profile(one.topic), raw=True
                )
            elif not wanted and one.subscription is not None:
                self._node.destroy_subscription(one.subscription)
                one.subscription = None

    def _forward(self, channel: Any) -> Callable[[bytes], None]:
        def forward(raw: bytes) -> None:
            channel.log(raw)
            self._count += 1

        return forward

    def _channel(self, foxglove: Any, context: Any, topic: RecordedTopic) -> Any:
        definition = message_definition(topic.type).encode()
        schema = foxglove.Schema(name=topic.type, encoding="ros2msg", data=definition)
        name = self._node.resolve_topic_name(topic.name)
        return foxglove.Channel(name, schema=schema, message_encoding="cdr", context=context)


def shown_topics(robot: Robot) -> tuple[RecordedTopic, ...]:
    """What is recorded, the raw features apart, and what is drawn."""
    return (*recorded_topics(robot, subgoals=False), *view_topics(robot))


def _profile(topic: RecordedTopic) -> QoSProfile:
    if topic.type.endswith("Image"):
        return qos.IMAGE_IN
    return qos.LATCHED if topic.latched and not topic.driver else qos.SENSOR


def frame_transforms(parents: Mapping[str, str], relative: Mapping[str, Array], stamp_ns: int) -> Any:
    """foxglove.FrameTransforms of the links."""
    from foxglove.messages import FrameTransform, FrameTransforms, Quaternion, Timestamp, Vector3

    stamp = Timestamp(sec=stamp_ns // 10**9, nsec=stamp_ns % 10**9)
    transforms = []
    for link, pose in relative.items():
        (x, y, z), (qx, qy, qz, qw) = pose[:3, 3].tolist(), from_matrix(pose)
        place, turn = Vector3(x=x, y=y, z=z), Quaternion(x=qx, y=qy, z=qz, w=qw)
        transforms.append(
            FrameTransform(timestamp=stamp, parent_frame_id=parents[link], child_frame_id=link, translation=place, rotation=turn)
        )
    return FrameTransforms(transforms=transforms)
