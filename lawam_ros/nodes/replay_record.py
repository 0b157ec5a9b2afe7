"""What the nodes do in a replay, as it is heard from their topics."""

import json
import threading
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_msgs.msg import Header, String
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.recorded_topics import RUN_INFO_TOPIC
from lawam_ros.contract.records import ActionChunk, JointCommand
from lawam_ros.contract.robot import Robot
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.status import ExecutorStatus, status_from_message


class ReplayRecord:
    """Written by subscriptions of ``node``, spun in a thread of its own; read by the player. Stamps are those of the topics."""

    def __init__(self, node: Node, robot: Robot, on_command: Callable[[JointCommand], None]) -> None:
        self._robot, self._on_command = robot, on_command
        self._lock = threading.Lock()
        self._chunks: list[ActionChunk] = []
        self._statuses: list[ExecutorStatus] = []
        self.status: ExecutorStatus | None = None
        self.policy_lives = threading.Event()
        self.policy_info: dict[str, Any] = {}
        self.chunk_ms: float | None = None
        node.create_subscription(JointTrajectory, "lawam/action_chunk", self._on_chunk, qos.RECORDED)
        node.create_subscription(DiagnosticArray, "lawam/status", self._on_status, qos.RECORDED_LATCHED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        node.create_subscription(JointTrajectory, robot.sim_command_topic, self._on_set_point, qos.RECORDED)
        node.create_subscription(Header, "lawam/heartbeat", self._on_heartbeat, qos.BEAT)
        node.create_subscription(String, RUN_INFO_TOPIC, self._on_run_info, qos.LATCHED)

    @property
    def chunks(self) -> list[ActionChunk]:
        with self._lock:
            return list(self._chunks)

    def take_statuses(self) -> list[ExecutorStatus]:
        """Statuses since the last call."""
        with self._lock:
            taken, self._statuses = self._statuses, []
            return taken

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            chunk = messages.chunk_from_message(message)
        except messages.BadMessage:
            return
        with self._lock:
            self._chunks.append(chunk)

    def _on_status(self, message: DiagnosticArray) -> None:
        try:
            status = status_from_message(message)
        except messages.BadMessage:
            return
        with self._lock:
            self._statuses.append(status)
        self.status = status

    def _on_set_point(self, message: JointTrajectory) -> None:
        try:
            self._on_command(messages.command_from_message(message, self._robot))
        except messages.BadMessage:
            return

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "policy" and "chunk_ms_p50" in (values := messages.values_by_key(status)):
                self.chunk_ms = float(values["chunk_ms_p50"])

    def _on_heartbeat(self, _: Header) -> None:
        self.policy_lives.set()

    def _on_run_info(self, message: String) -> None:
        self.policy_info = json.loads(message.data)
