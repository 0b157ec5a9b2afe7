"""A browser at the page that the viewer serves with Rerun sees the pictures of the view."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from headless_browser import browser, open_page

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from lawam_ros.contract.load import load_contract
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.images import rgb_to_image
from lawam_ros.nodes.message_executor import MessageExecutor
from lawam_ros.nodes.viewer import ViewerNode

pytestmark = pytest.mark.long

ROBOT = load_contract("franka_pick_place").robot
COLOUR = (250, 20, 230)
ENOUGH_PIXELS = 2000
PATIENCE_S = 150.0


@pytest.fixture
def viewer() -> Iterator[ViewerNode]:
    """A viewer with Rerun at a free port, spinning."""
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install 'lawam_ros[viewers]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--ros-args", "-p", "autostart:=false", "-p", "viewer:=rerun", "-p", f"port:={port}"]
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
    server = node._viewer._server  # type: ignore[union-attr]
    node.close()
    assert server.poll() is not None, "the server outlived the viewer"
    node.destroy_node()
    rclpy.try_shutdown()


def test_pictures_reach_a_browser(viewer: ViewerNode) -> None:
    program = browser()
    if program is None:
        pytest.skip("chromium is not installed: apt install chromium")
    publisher = viewer.create_publisher(Image, "lawam/overlay/front", qos.IMAGE_OUT)
    joints = dict.fromkeys((*ROBOT.joint_names, *ROBOT.arms[0].gripper.joints), 0.01)
    picture = np.full((240, 320, 3), COLOUR, np.uint8)
    address = str(viewer.report()[1]["address"])
    end_s = time.monotonic() + PATIENCE_S
    with open_page(program, f"{address}&renderer=webgl") as page:
        seen = 0
        while seen < ENOUGH_PIXELS and time.monotonic() < end_s:
            stamp_ns = time.time_ns()
            publisher.publish(rgb_to_image(picture, stamp_ns, "front_optical_frame"))
            viewer._on_joint_states(messages.joint_state_to_message(stamp_ns, joints, joints))
            time.sleep(1.0)
            seen = int((np.abs(page.picture().astype(int) - COLOUR).max(axis=2) < 30).sum())
    assert seen >= ENOUGH_PIXELS, f"{seen} pixels of the picture after {PATIENCE_S:.0f} s"
    assert viewer.report()[1]["server"] == "running"


def test_its_server_listens_to_this_machine_only(viewer: ViewerNode) -> None:
    port = viewer.get_parameter("port").value
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    listening = {fields[1] for fields in lines if fields[3] == "0A"}
    for number in (port, port + 1):
        assert f"0100007F:{number:04X}" in listening and f"00000000:{number:04X}" not in listening
