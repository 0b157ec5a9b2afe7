"""The chunk executor as a process of its own; the arm, which does as told, and all it listens to are in the hands of the test."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Header

from lawam_ros.cli.domain import ReservedDomain
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk, JointCommand
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.message_executor import MessageExecutor
from lawam_ros.nodes.priority import PHYSICS, SWITCH, raise_priority
from lawam_ros.nodes.run_client import RunClient

TASK = "franka_pick_place"
CALM = {SWITCH: "off"}
"""Processes are killed here: one that spins at real-time priority would hang the test."""


class ExecutorProcess:
    """What the test sees and does. joints_talk, heart_beats, held, pressed: what is published, 125 and 20 times a second; None: silence."""

    def __init__(self, overrides: list[str], parameters: list[str]) -> None:
        self.contract = load_contract(TASK, None, overrides)
        self._domain = ReservedDomain()
        self._overrides, self._parameters = overrides, parameters
        self.commands: list[JointCommand] = []
        self.violations: list[Any] = []
        self.diagnostics: dict[str, Any] = {}
        self._checker = LimitChecker(stacked_limits([arm.limits for arm in self.contract.robot.arms]))
        self.joints_rad = np.concatenate([arm.home_rad for arm in self.contract.robot.arms])
        self.joints_talk, self.heart_beats = True, False
        self.joints_ahead_s = 0.0
        self.held: bool | None = None
        self.pressed: bool | None = None
        self._context = Context()
        rclpy.init(context=self._context, domain_id=self._domain.number, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("hands", context=self._context)
        self._joints = self.node.create_publisher(JointState, self.contract.robot.joint_states_topic, qos.SENSOR)
        self._heart = self.node.create_publisher(Header, "lawam/heartbeat", qos.BEAT)
        self._deadman = self.node.create_publisher(Bool, "lawam/deadman", qos.BEAT)
        self._estop = self.node.create_publisher(Bool, "lawam/estop", qos.ANY_PUBLISHER)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        self.node.create_timer(0.008, self._publish_joints)
        self.node.create_timer(0.05, self._publish_switches)
        self._executor = MessageExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self.client = RunClient(self.contract, "", self._domain.number, self._on_command)
        self.process = self.start_process("-p", "discovery_s:=0.0")  # nobody else is there
        self._sequence = 0

    def _spin(self) -> None:
        raise_priority(PHYSICS)  # of this thread alone: hands that this machine holds up would be a fault of their own
        self._executor.spin()

    def start_process(self, *arguments: str) -> subprocess.Popen[bytes]:
        """One more executor, not active; its end is the caller's business."""
        values = [f"task:={TASK}", "autostart:=false", "instruction:=move", f"overrides:='{';'.join(self._overrides)}'", *self._parameters]
        command = [sys.executable, "-m", "lawam_ros.nodes.chunk_executor", "--ros-args"]
        for value in values:
            command += ["-p", value]
        return subprocess.Popen([*command, *arguments], env={**os.environ, "ROS_DOMAIN_ID": str(self._domain.number)})

    def close(self) -> None:
        end(self.process)
        self.client.close()
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self._domain.release()

    @property
    def state(self) -> str:
        return self.client.status.state if self.client.status else ""

    @property
    def reason(self) -> str:
        return self.client.status.reason if self.client.status else ""

    @property
    def resting(self) -> bool:
        return not self.commands or not np.any(self.commands[-1].velocities_rad_s)

    def said(self, node: str = "chunk_executor") -> str:
        """Newest message of a node in /diagnostics, empty before the first."""
        return str(self.diagnostics[node].message) if node in self.diagnostics else ""

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Seconds until the condition held."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() - started < seconds, f"waited {seconds} s for {what}; last status {self.client.status}"
            time.sleep(0.002)
        took_s = time.monotonic() - started
        print(f"{what}: {took_s * 1e3:.0f} ms")
        return took_s

    def move(self) -> None:
        """Activate and set the arm in motion for a second or more; once more where the hands were held up before it moved."""
        self.client.configure_executor()
        self.wait(self.client.activate_executor, 5.0, "activation")
        try:
            self.push()
        except AssertionError:
            if self.reason != "joint_states_lost":
                raise
            self.wait(self.client.deactivate_executor, 5.0, "deactivation")
            self.wait(self.client.activate_executor, 5.0, "activation")
            self.push()

    def push(self, speed_m_s: float = 0.15) -> None:
        self.wait(lambda: self.state == "HOLD", 2.0, "HOLD")
        self.client.publish_chunk(self.chunk(np.arange(1, 25) / 20 * speed_m_s))
        self.wait(lambda: self.state == "RUN" and not self.resting, 1.0, "motion")
        time.sleep(0.3)
        assert np.abs(self.commands[-1].velocities_rad_s).max() > 0.05, self.client.status

    def chunk(self, sideways_m: Any, **changes: Any) -> ActionChunk:
        """From the arm's present place, observed now."""
        arm, policy = self.contract.robot.arms[0], self.contract.task.policy
        chain = Chain.from_urdf((urdf_dir() / self.contract.robot.urdf).read_text(encoding="utf-8"), arm.base_frame, arm.tcp_frame)
        pose = chain.pose(self.joints_rad)
        rows = np.array([[pose.position_m[0], pose.position_m[1] + y, pose.position_m[2], *pose.quat_xyzw, 0.04] for y in sideways_m])
        self._sequence += 1
        fields: dict[str, Any] = {
            "stamp_ns": time.time_ns(),
            "frame_id": self.contract.robot.base_frame,
            "components": tuple(f"{arm.name}/{part}" for part in CARTESIAN_COMPONENTS),
            "values": rows,
            "time_from_start_s": (np.arange(len(rows)) + policy.action_offset_steps) / policy.action_hz,
            "sequence": self._sequence,
            "epoch": self.client.status.epoch if self.client.status else 0,
            "contract_crc": self.contract.crc,
        }
        return ActionChunk(**{**fields, **changes})

    def _publish_joints(self) -> None:
        if not self.joints_talk:
            return
        names = [*self.contract.robot.joint_names, *self.contract.robot.arms[0].gripper.joints]
        positions = dict(zip(names, [*self.joints_rad.tolist(), 0.02, 0.02], strict=True))
        stamp_ns = self.node.get_clock().now().nanoseconds + round(self.joints_ahead_s * 1e9)
        self._joints.publish(messages.joint_state_to_message(stamp_ns, positions, dict.fromkeys(names, 0.0)))

    def _publish_switches(self) -> None:
        if self.heart_beats:
            self._heart.publish(messages.header(self.node.get_clock().now().nanoseconds))
        if self.held is not None:
            self._deadman.publish(Bool(data=self.held))
        if self.pressed is not None:
            self._estop.publish(Bool(data=self.pressed))

    def _on_command(self, command: JointCommand) -> None:
        self.commands.append(command)
        self.joints_rad = command.positions_rad
        self.violations += self._checker.add(
            command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics[status.name] = status


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process the way a user does, and with force if that takes longer than braking."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


@contextmanager
def executor_process(overrides: tuple[str, ...] = (), parameters: tuple[str, ...] = ()) -> Iterator[ExecutorProcess]:
    """An executor that is not yet configured; at the end every command must have kept the limits."""
    # A full collection in a process that has loaded hundreds of test modules takes longer than joint states may be silent.
    gc.collect()
    gc.disable()
    try:
        with patch.dict(os.environ, CALM):
            made = ExecutorProcess(list(overrides), list(parameters))
            try:
                yield made
                assert made.violations == []
            finally:
                made.close()
    finally:
        gc.enable()
