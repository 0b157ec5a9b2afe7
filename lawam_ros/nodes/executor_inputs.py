"""What the executor hears on topics: joint states, chunks, heartbeat, operator, instruction; steps in lock step, commands in a replay.

A node of its own, spun by a thread of its own: rclpy spins all callback groups of a node in one executor, and a transition that waits for
rest in the main spinner would otherwise block the messages it needs.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Header, String
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.robot import Drive, Robot
from lawam_ros.control.stream_rate import StreamRate
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.hardware import joint_states_topics
from lawam_ros.nodes.inputs_node import inputs_node
from lawam_ros.nodes.lock_step import STEP_TOPIC, step_from_message
from lawam_ros.nodes.managed import ManagedNode
from lawam_ros.nodes.own_thread import OwnThread
from lawam_ros.nodes.replay_inputs import REFERENCE_TOPIC
from lawam_ros.nodes.shared_core import SharedCore
from lawam_ros.nodes.stepped_core import Refused, SteppedCore
from lawam_ros.observe.timed_buffer import TimedBuffer

CHUNK_TOPIC = "lawam/action_chunk"
HEARTBEAT_TOPIC = "lawam/heartbeat"


class ExecutorInputs:
    """Passes on what fits, counts and names what does not. An error of its own ends the owner, which brakes: else it would go on deaf."""

    def __init__(
        self,
        owner: ManagedNode,
        shared: SharedCore,
        robot: Robot,
        drive: Drive | None,
        steps: SteppedCore | None,
        recorded: TimedBuffer[JointCommand] | None,
    ) -> None:
        """steps: who ticks in lock step. recorded: where the commands of a replay are kept."""
        self._owner = owner
        self._shared = shared
        self._robot = robot
        self._steps = steps
        self._recorded = recorded
        self._joint_states, self._commands = (owner.resolve_topic_name(name) for name in (robot.joint_states_topic, REFERENCE_TOPIC))
        self._rates = {name: StreamRate() for name in ("joint_states", "heartbeat", "chunk")}
        self._bad_messages = 0
        self._last_bad = ""
        self._node = inputs_node(owner)
        self._subscribe_all(joint_states_topics(robot, drive))
        self._thread = OwnThread(self._node, "motion-inputs", owner.fail)

    def close(self) -> None:
        self._thread.close()

    def policy_heard_for_s(self) -> float | None:
        """How long the policy's heartbeat has been there, None while it is not."""
        return self._rates["heartbeat"].heard_for_s(self._shared.now_ns())

    def report(self) -> dict[str, object]:
        values: dict[str, object] = {}
        for name, rate in self._rates.items():
            values |= rate.report(name, self._shared.now_ns())
        return values | {"bad_messages": self._bad_messages, "last_bad_message": self._last_bad}

    def _subscribe_all(self, joint_states: tuple[str, ...]) -> None:
        stepped = self._steps is not None
        for topic in joint_states:
            self._subscribe(JointState, topic, self._on_joint_states, qos.STEPPED if stepped else qos.SENSOR)
        self._subscribe(JointTrajectory, CHUNK_TOPIC, self._on_chunk, qos.CHUNK)
        if self._recorded is not None:
            self._subscribe(JointTrajectory, REFERENCE_TOPIC, self._on_recorded, qos.RECORDED)
        if stepped:
            self._subscribe(DiagnosticArray, STEP_TOPIC, self._on_step, qos.STEPPED)
        else:
            self._subscribe(Header, HEARTBEAT_TOPIC, self._on_heartbeat, qos.BEAT)
            self._subscribe(Bool, "lawam/deadman", self._on_deadman, qos.BEAT)
        expected = self._owner.mismatches.expected()
        for profile in (qos.ANY_PUBLISHER, qos.LATCHED):
            self._node.create_subscription(String, "instruction", self._on_instruction, profile, event_callbacks=expected)
            self._node.create_subscription(Bool, "lawam/estop", self._on_estop, profile, event_callbacks=expected)

    def _subscribe(self, type_: Any, topic: str, callback: Any, profile: QoSProfile) -> None:
        told = self._owner.mismatches.of_subscription(topic)
        self._node.create_subscription(type_, topic, callback, profile, event_callbacks=told)

    def _on_joint_states(self, message: JointState) -> None:
        now_ns = self._shared.now_ns()
        self._rates["joint_states"].heard(now_ns)
        try:
            positions = messages.joint_positions(message)
        except messages.BadMessage as error:
            self._count_bad(f"joint_states: {error}")
            return
        stamp_ns = messages.nanoseconds(message.header.stamp)
        clock_ns = self._shared.stamps.to_clock(stamp_ns)
        if self._steps is None:
            if clock_ns - now_ns > self._robot.budgets.future_stamp_s * 1e9:  # it would be young for as long after the last one
                self._count_bad(f"joint_states: stamped {(clock_ns - now_ns) * 1e-9:.2f} s in the future")
                return
            clock_ns = min(clock_ns, now_ns)
        self._shared.tell(lambda core: core.measured(clock_ns, positions))
        if self._steps is not None:
            self._name_refused(self._steps.arrived(self._joint_states, stamp_ns))

    def _on_chunk(self, message: JointTrajectory) -> None:
        now_ns = self._shared.now_ns()
        self._rates["chunk"].heard(now_ns)
        try:
            chunk = messages.chunk_from_message(message)
        except messages.BadMessage as error:
            reason = str(error)
            self._count_bad(f"action_chunk: {reason}")
            self._shared.tell(lambda core: core.reject(reason))
            if self._steps is not None:
                self._steps.judged(messages.nanoseconds(message.header.stamp))
            return
        if self._steps is not None:
            self._steps.take(chunk)
            return
        on_clock = replace(chunk, stamp_ns=self._shared.stamps.to_clock(chunk.stamp_ns))
        refusal = self._shared.tell(lambda core: core.offer_chunk(on_clock, now_ns))
        if refusal is not None:
            self._name_refused([(chunk, refusal)])

    def _on_recorded(self, message: JointTrajectory) -> None:
        assert self._recorded is not None
        try:
            command = messages.command_from_message(message, self._robot)
        except messages.BadMessage as error:
            self._count_bad(f"{REFERENCE_TOPIC}: {error}")
            return
        self._recorded.push(command.stamp_ns, command)
        if self._steps is not None:
            self._name_refused(self._steps.arrived(self._commands, command.stamp_ns))

    def _on_step(self, message: DiagnosticArray) -> None:
        assert self._steps is not None
        try:
            step_ns, newest = step_from_message(message)
        except messages.BadMessage as error:
            self._count_bad(f"{STEP_TOPIC}: {error}")
            return
        self._name_refused(self._steps.announced(step_ns, newest))

    def _on_heartbeat(self, message: Header) -> None:
        now_ns = self._shared.now_ns()
        self._rates["heartbeat"].heard(now_ns)
        self._shared.tell(lambda core: core.heartbeat(now_ns))

    def _on_deadman(self, message: Bool) -> None:
        self._shared.tell(lambda core: core.deadman(message.data, self._shared.now_ns()))

    def _on_estop(self, message: Bool) -> None:
        self._shared.tell(lambda core: core.estop(message.data, self._shared.now_ns()))

    def _on_instruction(self, message: String) -> None:
        if message.data.strip():
            self._shared.tell(lambda core: core.set_instruction(message.data, self._shared.now_ns()))

    def _name_refused(self, refused: Iterable[Refused]) -> None:
        for chunk, reason in refused:
            self._owner.get_logger().warning(f"chunk {chunk.sequence} rejected: {reason}", throttle_duration_sec=1.0)

    def _count_bad(self, what: str) -> None:
        self._bad_messages += 1
        self._last_bad = what
        self._owner.get_logger().warning(f"bad message dropped: {what}", throttle_duration_sec=1.0)
