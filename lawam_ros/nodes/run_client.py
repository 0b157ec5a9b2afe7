"""Client of a running graph: starts and ends episodes, and measures what happens from the topics alone."""

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.recorded_topics import RECORDER_READY_TOPIC
from lawam_ros.contract.records import ActionChunk, JointCommand
from lawam_ros.control.kinematics import Chain
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.calls import call_service
from lawam_ros.nodes.executor_client import SERVICE_S, ExecutorClient
from lawam_ros.nodes.images import ImageMessage, image_to_rgb, image_type
from lawam_ros.nodes.message_executor import MessageExecutor
from lawam_ros.nodes.priority import middleware_priority
from lawam_ros.nodes.status import ExecutorStatus, status_from_message
from lawam_ros.observe.image import BadImage

_PATH_STEP_M, _PATH_EVERY_NS = 0.001, 20_000_000


@dataclass(frozen=True)
class WorldReport:
    """``sim/status``: the seed it speaks of, simulated time, verdict and the stages reached.

    over, command_hash: in lock step, how the episode ended (empty while it goes on), and a hash of everything commanded.
    """

    seed: int
    time_s: float
    success: bool
    final_error_m: float
    min_tcp_object_distance_m: float
    stages: dict[str, bool]
    over: str = ""
    command_hash: str = ""


@dataclass
class Measurements:
    """Samples of a whole run. uses: stamps (ns) of an observation and of the tick that first used its chunk; how many set-points arrived
    over which span of stamps."""

    uses: list[tuple[int, int]] = field(default_factory=list)
    commands: int = 0
    command_span_s: float = 0.0


class RunClient:
    """Spins a node of its own in a thread; every attribute read here is replaced as a whole by the callbacks.

    paths_m: per arm the commanded TCPs since the last reset, a millimetre or more apart; targets_m: per arm those of the newest chunk
    (N, 3); in the arms' base frames.
    """

    def __init__(self, contract: Contract, namespace: str, domain: int, on_command: Callable[[JointCommand], None]) -> None:
        self._contract = contract
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        with middleware_priority():
            self._node = rclpy.create_node("lawam_run", context=self._context, namespace=namespace)
        self._executor = MessageExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._services = ExecutorClient(self._node)
        self._on_command = on_command
        self.status: ExecutorStatus | None = None
        self.world: WorldReport | None = None
        self.frame: NDArray[np.uint8] | None = None
        self.heatmap: NDArray[np.uint8] | None = None
        self.paths_m: dict[str, list[NDArray[np.float64]]] = {arm.name: [] for arm in contract.robot.arms}
        self.targets_m: dict[str, NDArray[np.float64]] = {}
        self.last_heartbeat_s = 0.0
        self.recording_to = ""
        self.recording_problem = ""
        self.policy_report: dict[str, str] = {}
        self.measurements = Measurements()
        self.last_chunk: ActionChunk | None = None
        self._chunks: Any = None
        self._chunk_stamps: dict[int, int] = {}
        self._last_command_ns = self._next_path_ns = 0
        urdf = (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")
        self._chains = {arm.name: Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame) for arm in contract.robot.arms}
        self._subscribe()
        self._thread = threading.Thread(target=self._executor.spin, name="run-client", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def configure_executor(self) -> bool:
        return self._services.configure()

    def activate_executor(self) -> bool:
        return self._services.activate()

    def deactivate_executor(self) -> bool:
        return self._services.deactivate()

    def transition(self, transition: int) -> bool:
        """Ask the executor for one lifecycle transition; whether it was made."""
        return self._services.transition(transition)

    def reset_world(self, seed: int) -> None:
        """Put the simulated world to the start of an episode and forget what was seen of the last one."""
        value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=int(seed))
        request = SetParameters.Request(parameters=[ParameterMessage(name="seed", value=value)])
        reply = call_service(self._node, SetParameters, "sim/set_parameters", request, SERVICE_S)
        if not reply.results[0].successful:
            raise LawamError(f"the simulation refused seed {seed}: {reply.results[0].reason}")
        done, text = self.trigger("sim/reset")
        if not done:
            raise LawamError(f"the simulation refused to reset: {text}")
        self.paths_m = {name: [] for name in self.paths_m}
        self.targets_m, self.heatmap, self.frame = {}, None, None

    def trigger(self, service: str) -> tuple[bool, str]:
        """Call a Trigger service such as ``chunk_executor/reset``: whether it succeeded, and its message."""
        return self._services.trigger(service)

    def publish_chunk(self, chunk: ActionChunk) -> None:
        """Offer a chunk as if this were the policy."""
        if self._chunks is None:
            self._chunks = self._node.create_publisher(JointTrajectory, "lawam/action_chunk", qos.CHUNK)
            while self._chunks.get_subscription_count() == 0:
                time.sleep(0.02)
        self._chunks.publish(messages.chunk_to_message(chunk))

    def heartbeat_age_s(self) -> float:
        return time.monotonic() - self.last_heartbeat_s

    def _subscribe(self) -> None:
        robot, policy = self._contract.robot, self._contract.task.policy
        camera = robot.camera(policy.primary_cameras[0])
        subscribe = self._node.create_subscription
        subscribe(DiagnosticArray, "lawam/status", self._on_status, qos.RECORDED_LATCHED)
        subscribe(DiagnosticArray, "sim/status", self._on_world, qos.LATCHED)
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        subscribe(Header, "lawam/heartbeat", self._on_heartbeat, qos.BEAT)
        subscribe(JointTrajectory, "lawam/action_chunk", self._on_chunk, qos.CHUNK)
        subscribe(JointTrajectory, robot.sim_command_topic, self._on_command_message, qos.COMMAND)
        subscribe(String, RECORDER_READY_TOPIC, self._on_recorder, qos.LATCHED)
        self._camera = camera
        subscribe(image_type(camera), camera.topic, self._on_frame, qos.IMAGE_IN)
        subscribe(Image, "lawam/subgoal/heatmap", self._on_heatmap, qos.IMAGE_IN)

    def _on_frame(self, message: ImageMessage) -> None:
        with suppress(BadImage):  # the policy node reports it
            self.frame = image_to_rgb(message, self._camera)

    def _on_heatmap(self, message: Image) -> None:
        with suppress(BadImage):
            self.heatmap = image_to_rgb(message, self._camera)

    def _on_heartbeat(self, _: Header) -> None:
        self.last_heartbeat_s = time.monotonic()

    def _on_recorder(self, message: String) -> None:
        self.recording_to = message.data

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "policy":
                self.policy_report = messages.values_by_key(status)
            elif status.name == "recorder" and status.message != "ok":
                self.recording_problem = status.message

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            chunk = messages.chunk_from_message(message)
        except messages.BadMessage:
            return
        self._chunk_stamps[chunk.sequence] = chunk.stamp_ns
        self.last_chunk = chunk
        axes = {name: [f"{name}/{axis}" for axis in "xyz"] for name in self.paths_m}
        if all(axis in chunk.components for three in axes.values() for axis in three):
            self.targets_m = {name: chunk.values[:, [chunk.components.index(axis) for axis in three]] for name, three in axes.items()}

    def _on_status(self, message: DiagnosticArray) -> None:
        try:
            status = status_from_message(message)
        except messages.BadMessage:
            return
        stamp_ns = self._chunk_stamps.pop(status.accepted_sequence, None)
        if stamp_ns is not None:
            self.measurements.uses.append((stamp_ns, status.stamp_ns))
        self.status = status

    def _on_world(self, message: DiagnosticArray) -> None:
        values = messages.values_by_key(message.status[0])
        self.world = WorldReport(
            seed=int(values["seed"]),
            time_s=float(values["time_s"]),
            success=values["success"] == "True",
            final_error_m=_finite(values["final_error_m"]),
            min_tcp_object_distance_m=_finite(values["min_tcp_object_distance_m"]),
            stages={key.removeprefix("stage_"): value == "True" for key, value in values.items() if key.startswith("stage_")},
            over=values.get("over", ""),
            command_hash=values.get("command_hash", ""),
        )

    def _on_command_message(self, message: JointTrajectory) -> None:
        try:
            command = messages.command_from_message(message, self._contract.robot)
        except messages.BadMessage:
            return
        gap_s = (command.stamp_ns - self._last_command_ns) * 1e-9
        if 0 < gap_s < 0.5:  # a longer gap lies between episodes
            self.measurements.commands += 1
            self.measurements.command_span_s += gap_s
        self._last_command_ns = command.stamp_ns
        self._on_command(command)
        self._add_to_paths(command)

    def _add_to_paths(self, command: JointCommand) -> None:
        """Now and then, and not for every command: what no pixel of a film shows must not cost the processor that runs the policy."""
        if 0 < self._next_path_ns - command.stamp_ns < _PATH_EVERY_NS:
            return
        self._next_path_ns = command.stamp_ns + _PATH_EVERY_NS
        for name, chain in self._chains.items():
            position_m = chain.transform(command.positions_rad[self._contract.robot.joint_slice(name)])[:3, 3]
            path_m = self.paths_m[name]
            if not path_m or float(np.linalg.norm(position_m - path_m[-1])) >= _PATH_STEP_M:
                path_m.append(position_m)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else math.nan
