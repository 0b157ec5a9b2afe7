"""The recorder as a process: it records what is said around it, and a full disk ends the recording, not the node."""

import array
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.cli.domain import ReservedDomain
from lawam_ros.contract.recorded_topics import RECORDER_READY_TOPIC
from lawam_ros.data.bag_reader import Bag
from lawam_ros.nodes import messages, qos

HEIGHT, WIDTH = 240, 320


class Stage:
    """A recorder, and the hands of the test that publish."""

    def __init__(self, bag: Path, domain: int, file_limit_bytes: int | None, parameters: list[str]) -> None:
        self.ready = self.said = ""
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("hands", context=self._context)
        self.joints = self.node.create_publisher(JointState, "joint_states", qos.SENSOR)
        self.images = self.node.create_publisher(Image, "camera/front/image_raw", qos.IMAGE_OUT)
        self.instruction = self.node.create_publisher(String, "instruction", qos.ANY_PUBLISHER)
        self.node.create_subscription(String, RECORDER_READY_TOPIC, self._on_ready, qos.LATCHED)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        self.executor = SingleThreadedExecutor(context=self._context)
        self.executor.add_node(self.node)
        command = [sys.executable, "-m", "lawam_ros.nodes.recorder", "--ros-args", "-p", f"bag:={bag}"]
        for parameter in parameters:
            command += ["-p", parameter]

        def limit() -> None:
            if file_limit_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit_bytes, file_limit_bytes))

        self.process = subprocess.Popen(command, env={**os.environ, "ROS_DOMAIN_ID": str(domain)}, preexec_fn=limit)

    def _on_ready(self, message: String) -> None:
        self.ready = message.data

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.said = message.status[0].message

    def wait(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + 20.0
        while not condition():
            assert time.monotonic() < deadline and self.process.poll() is None, f"waited for {what}; the recorder says {self.said!r}"
            self.executor.spin_once(timeout_sec=0.02)

    def publish(self, number: int) -> None:
        stamp_ns = number * 10_000_000
        self.joints.publish(messages.joint_state_to_message(stamp_ns, {"a": float(number)}, {"a": 0.0}))
        pixels = array.array("B", bytes([number % 256]) * (HEIGHT * WIDTH * 3))
        header = messages.header(stamp_ns)
        self.images.publish(Image(header=header, height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH, data=pixels))

    def mark(self, name: str) -> bool:
        future = self.node.create_client(Trigger, f"recorder/{name}").call_async(Trigger.Request())
        self.executor.spin_until_future_complete(future, timeout_sec=10.0)
        return bool(future.result().success)

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)


@contextmanager
def stage(bag: Path, *parameters: str, file_limit_bytes: int | None = None) -> Iterator[Stage]:
    domain = ReservedDomain()
    made = Stage(bag, domain.number, file_limit_bytes, list(parameters))
    try:
        made.wait(lambda: made.ready, "the recorder to be ready")
        made.wait(lambda: made.joints.get_subscription_count() and made.images.get_subscription_count(), "subscriptions")
        yield made
    finally:
        made.close()
        domain.release()


@pytest.mark.parametrize("compressed", [False, True])
def test_everything_said_is_in_the_bag(tmp_path: Path, compressed: bool) -> None:
    folder = tmp_path / "bag"
    with stage(folder, f"compress_images:={str(compressed).lower()}") as recorder:
        assert recorder.ready == str(folder)
        assert recorder.mark("start_episode")
        for number in range(20):
            recorder.publish(number)
            time.sleep(0.01)
        recorder.wait(lambda: recorder.instruction.get_subscription_count(), "a reader of the instruction")
        recorder.instruction.publish(String(data="fold the towel"))
        assert recorder.mark("discard_episode")
        time.sleep(0.3)
        assert recorder.end() == 0
    image_topic = "/camera/front/image_raw" + ("/compressed" if compressed else "")
    with Bag(folder) as bag:
        assert bag.topics["/joint_states"].count == 20
        assert bag.topics[image_topic].count == 20
        assert [bag.decode(m).data for m in bag.messages({"/lawam/episode"})] == ["start", "discard"]
        assert {bag.decode(m).data for m in bag.messages({"/instruction"})} == {"fold the towel"}
        assert [bag.decode(m).header.stamp.nanosec for m in bag.messages({"/joint_states"})] == [k * 10_000_000 for k in range(20)]
        assert not bag.problems


def test_what_a_bridge_is_told_and_says_is_in_the_bag(tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    with stage(folder, "task:=x1_towel_fold", "bridge:=true") as recorder:
        set_points = recorder.node.create_publisher(JointTrajectory, "x1_bridge/set_points", qos.COMMAND)
        told = recorder.node.create_publisher(JointState, "x1_bridge/reference", qos.BEAT)
        obeys = recorder.node.create_publisher(Bool, "lawam/controller_active", qos.LATCHED)
        recorder.wait(lambda: all(p.get_subscription_count() for p in (set_points, told, obeys)), "subscriptions")
        obeys.publish(Bool(data=True))
        for _ in range(20):
            set_points.publish(JointTrajectory())
            told.publish(JointState())
            time.sleep(0.02)
        assert recorder.end() == 0
    with Bag(folder) as bag:
        assert bag.topics["/recorded/x1_bridge/set_points"].count > 0
        assert bag.topics["/x1_bridge/reference"].count > 0
        assert [bag.decode(m).data for m in bag.messages({"/lawam/controller_active"})] == [True]
        assert "/x1_bridge/set_points" not in bag.topics


def test_a_full_disk_ends_the_recording_with_a_reason_and_nothing_else(tmp_path: Path) -> None:
    """Files may not grow beyond 3 MB: the write fails as on a full disk. The node lives, says why, and what was written is read."""
    folder = tmp_path / "bag"
    with stage(folder, file_limit_bytes=3 * 2**20) as recorder:
        number = 0

        def told() -> bool:
            nonlocal number
            recorder.publish(number)
            number += 1
            return "the disk takes no more (File too large)" in recorder.said

        recorder.wait(told, "the reason in /diagnostics")
        assert recorder.mark("start_episode"), "the node still answers"
        assert recorder.end() == 0
    with Bag(folder) as bag:
        assert 5 < sum(m.topic == "/camera/front/image_raw" for m in bag.messages()) <= number


def test_a_bag_that_exists_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    command = [sys.executable, "-m", "lawam_ros.nodes.recorder", "--ros-args", "-p", f"bag:={tmp_path / 'bag'}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2 and "exists already; choose another folder" in ended.stderr
