"""What a client of the websocket sees, and that nobody is asked for what nobody looks at."""

import asyncio
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("foxglove", reason="foxglove-sdk is not installed: pip install 'lawam_ros[viewers]'")

import rclpy
import websockets
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image, JointState

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.link_frames import LinkFrames
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.foxglove_viewer import frame_transforms, shown_topics
from lawam_ros.nodes.images import rgb_to_image
from lawam_ros.nodes.message_executor import MessageExecutor
from lawam_ros.nodes.viewer import ViewerNode

ROBOT = load_contract("franka_pick_place").robot
PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
TOPIC = "/lawam/overlay/front"
LINKS = "/lawam/links"
WAIT_S = 20.0
DATA = 1
HEADER = struct.Struct("<BIQ")
"""Of a binary message: operation, subscription, log time in ns."""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def viewer(port: int) -> Iterator[ViewerNode]:
    """A configured viewer, spinning."""
    arguments = ["--ros-args", "-p", "autostart:=false", "-p", f"port:={port}"]
    rclpy.init(args=arguments, domain_id=int(os.environ["ROS_DOMAIN_ID"]))
    node = ViewerNode()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    executor = MessageExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield node
    executor.shutdown(timeout_sec=2.0)
    thread.join(timeout=2.0)
    node.close()
    node.destroy_node()
    rclpy.try_shutdown()


async def until(condition: Callable[[], bool]) -> None:
    """Wait, but not for ever."""
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, "waited too long"
        await asyncio.sleep(0.02)


def with_client(port: int, talk: Callable[[Any, dict[str, dict[str, Any]]], Coroutine[Any, Any, None]]) -> None:
    """Connect, read what is offered by topic, and talk."""

    async def session() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{port}", subprotocols=[websockets.Subprotocol("foxglove.sdk.v1")]) as client:
            offered: dict[str, dict[str, Any]] = {}
            while len(offered) < len(shown_topics(ROBOT)) + 1:
                said = json.loads(await asyncio.wait_for(client.recv(), WAIT_S))
                offered |= {channel["topic"]: channel for channel in said.get("channels", [])}
            await talk(client, offered)

    asyncio.run(session())


async def subscribe(client: Any, channel: dict[str, Any]) -> None:
    await client.send(json.dumps({"op": "subscribe", "subscriptions": [{"id": 7, "channelId": channel["id"]}]}))


async def data(client: Any) -> bytes:
    """The bytes of the next message."""
    while True:
        said = await asyncio.wait_for(client.recv(), WAIT_S)
        if isinstance(said, bytes) and HEADER.unpack_from(said)[:2] == (DATA, 7):
            return said[HEADER.size :]


def test_pictures_arrive_and_are_asked_for_only_while_a_client_looks(viewer: ViewerNode, port: int) -> None:
    publisher = viewer.create_publisher(Image, TOPIC.lstrip("/"), qos.IMAGE_OUT)
    sent = rgb_to_image(PICTURE, 5_000_000_000, "front_optical_frame")

    async def talk(client: Any, offered: dict[str, dict[str, Any]]) -> None:
        assert (offered[TOPIC]["encoding"], offered[TOPIC]["schemaName"]) == ("cdr", "sensor_msgs/msg/Image")
        assert "std_msgs/Header header" in offered[TOPIC]["schema"] and "MSG: std_msgs/Header" in offered[TOPIC]["schema"]
        assert publisher.get_subscription_count() == 0
        await subscribe(client, offered[TOPIC])
        await until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(sent)
        assert deserialize_message(await data(client), Image) == sent
        await client.send(json.dumps({"op": "unsubscribe", "subscriptionIds": [7]}))
        await until(lambda: publisher.get_subscription_count() == 0)

    with_client(port, talk)
    assert viewer.report()[1]["forwarded"] == 1


def test_latched_topics_reach_a_client_that_comes_late(viewer: ViewerNode, port: int) -> None:
    from std_msgs.msg import String

    publisher = viewer.create_publisher(String, "robot_description", qos.LATCHED)
    publisher.publish(String(data="<robot/>"))

    async def talk(client: Any, offered: dict[str, dict[str, Any]]) -> None:
        await subscribe(client, offered["/robot_description"])
        assert deserialize_message(await data(client), String).data == "<robot/>"

    with_client(port, talk)


def test_the_links_of_the_robot_move(viewer: ViewerNode, port: int) -> None:
    joints = dict.fromkeys((*ROBOT.joint_names, *ROBOT.arms[0].gripper.joints), 0.01)

    async def talk(client: Any, offered: dict[str, dict[str, Any]]) -> None:
        await subscribe(client, offered[LINKS])
        await until(lambda: viewer._viewer._frames.has_sinks())  # type: ignore[union-attr]
        viewer._on_joint_states(messages.joint_state_to_message(1, joints, joints))
        assert b"panda_hand" in await data(client)

    with_client(port, talk)


def test_transforms_of_the_links() -> None:
    frames = LinkFrames((urdf_dir() / ROBOT.urdf).read_text())
    relative = frames.relative(dict.fromkeys((*ROBOT.joint_names, *ROBOT.arms[0].gripper.joints), 0.0))
    said = repr(frame_transforms({joint.child: joint.parent for joint in frames.joints}, relative, 3_000_000_001))
    assert said.count("FrameTransform {") == len(frames.joints)
    assert 'parent_frame_id: "panda_link0", child_frame_id: "panda_link1"' in said


def test_missing_joints_are_named(viewer: ViewerNode) -> None:
    viewer._on_joint_states(JointState(name=["panda_joint1"], position=[0.0]))
    viewer._newest_ns = 5
    viewer._show_links()
    assert "got none of 'panda_joint2' yet" in viewer.warning()


def test_a_taken_port_is_told(viewer: ViewerNode, port: int) -> None:
    from lawam_ros.contract.errors import EnvironmentLacks
    from lawam_ros.nodes.foxglove_viewer import FoxgloveViewer

    frames = LinkFrames((urdf_dir() / ROBOT.urdf).read_text())
    with pytest.raises(EnvironmentLacks, match=f"127.0.0.1:{port}.*choose another port"):
        FoxgloveViewer(viewer, ROBOT, frames, "127.0.0.1", port)


def test_it_listens_to_this_machine_only(viewer: ViewerNode, port: int) -> None:
    assert viewer.get_parameter("host").value == "127.0.0.1"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    listening = [fields[1] for fields in lines if fields[3] == "0A"]
    assert f"0100007F:{port:04X}" in listening and f"00000000:{port:04X}" not in listening
