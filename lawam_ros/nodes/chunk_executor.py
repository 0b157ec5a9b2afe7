"""Chunk executor node: action chunks in, limited set-points out at the tick rate. Owns safety; imports no torch and no OpenCV.

Three threads: the tick on absolute deadlines of the monotonic clock; motion inputs (joint states, chunks, heartbeat) spun by a node of
their own, because rclpy spins all callback groups of a node in one executor and a lifecycle transition that waits for rest would otherwise
block the messages it needs; services and transitions in the main spinner, which only set requests and wait. In lock step there is no tick
thread: the motion inputs tick, when all of a step has arrived.
"""

import math
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Header, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, LawamError, UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk, JointCommand
from lawam_ros.contract.robot import Safety
from lawam_ros.control.controller_watch import ControllerWatch
from lawam_ros.control.executor import ActivationRefused, ChunkExecutor
from lawam_ros.control.measured import joints_of_command
from lawam_ros.control.stream_rate import StreamRate
from lawam_ros.control.tick_output import Status, TickOutput
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.bridge_link import BridgeLink
from lawam_ros.nodes.command_outputs import command_output, command_topic
from lawam_ros.nodes.gripper_actions import GripperWish
from lawam_ros.nodes.hardware import HARDWARE, SIM, joint_states_topics, linked, wanted_drive
from lawam_ros.nodes.inputs_node import inputs_node
from lawam_ros.nodes.lock_step import LATENCY, LOCKSTEP, STEP_TOPIC, step_from_message
from lawam_ros.nodes.managed import InputMissing, ManagedNode, run
from lawam_ros.nodes.other_publishers import other_publishers
from lawam_ros.nodes.own_thread import OwnThread
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.priority import EXECUTOR, lock_memory, raise_priority
from lawam_ros.nodes.replay_inputs import REFERENCE_TOPIC, REPLAY, check_replay
from lawam_ros.nodes.robot_link import RobotLink
from lawam_ros.nodes.stamp_clock import StampClock, follow, read_offset_ns
from lawam_ros.nodes.status import status_to_message
from lawam_ros.nodes.stepped_ticks import SILENT_S, SteppedTicks
from lawam_ros.nodes.tick_thread import TickThread
from lawam_ros.observe.timed_buffer import TimedBuffer

INSTRUCTION = Parameter("instruction", "", "What the policy is asked to do; with an empty one the node waits for the topic instruction.")
STATUS_HZ = Parameter("status_hz", 10.0, "Rate of lawam/status between changes.", low=1.0, high=50.0)
REFERENCE_HZ = Parameter(
    "reference_hz",
    250.0,
    "Rate of lawam/reference, at most that of the ticks; a chunk waits for the first after its image.",
    low=10.0,
    high=250.0,
)
DISCOVERY = Parameter(
    "discovery_s",
    3.2,
    "Seconds from its start in which the executor is not configured, since another one may not have been seen yet: a participant of "
    "Fast DDS whose first announcements were lost is heard within 3 s.",
    low=0.0,
    high=60.0,
)
TABLE = (INSTRUCTION, STATUS_HZ, REFERENCE_HZ, DISCOVERY, HARDWARE, LOCKSTEP, LATENCY, REPLAY)

_REST_TIMEOUT_S = 5.0
_PUBLISHERS_S = 1.0
_LAST_WORD = Duration(seconds=0.2)
CHUNK_TOPIC = "lawam/action_chunk"


class ChunkExecutorNode(ManagedNode):
    """Wires ``control.executor.ChunkExecutor`` to topics, services and the monotonic clock."""

    def __init__(self) -> None:
        super().__init__("chunk_executor", TABLE)
        self._lock = threading.Lock()
        self._started_s = time.monotonic()
        self._core: ChunkExecutor | None = None
        self._tick: TickThread | None = None
        self._motion: OwnThread | None = None
        self._stamps = StampClock(int(self.get_clock().now().nanoseconds) - time.monotonic_ns())
        self._stepped: SteppedTicks | None = None
        self._link: RobotLink | BridgeLink | None = None
        self._recorded: TimedBuffer[JointCommand] | None = None
        self._published_status: Status | None = None
        self._was_active = False
        self._last_output: TickOutput | None = None
        self._counters: dict[str, int] = {}
        self._rates = {name: StreamRate() for name in ("joint_states", "heartbeat", "chunk")}
        self._bad_messages = 0
        self._last_bad = ""
        self._second_command = ""
        self._second_chunks = ""
        self._publishers_timer = self.create_timer(_PUBLISHERS_S, self._watch_publishers)

    def setup(self) -> None:
        self._contract = self.contract()
        robot = self._contract.robot
        path = urdf_dir() / robot.urdf
        if not path.is_file():
            raise LawamError(f"expected the robot description {robot.urdf} in the urdf folder, found none")
        stepped = bool(self.get_parameter("lockstep").value)
        # Nobody's silence counts in stepped time, where all wait for each other.
        obeyed = replace(self._contract, robot=replace(robot, safety=Safety())) if stepped else self._contract
        urdf = path.read_text(encoding="utf-8")
        replays = self._replays()
        drive = self._drive = wanted_drive(str(self.get_parameter("hardware").value), robot, stepped)
        self._command_topic = command_topic(robot, drive)
        if not stepped:
            self._look_for_another()
        if drive is not None:
            self._link, narrowed = linked(self, self._contract, drive, urdf, self._tell_controller, self._gripper_wish)
            obeyed = replace(obeyed, robot=narrowed)
        if replays:  # recorded joints follow the recorded commands, not the new ones
            self._recorded = TimedBuffer(600)
            obeyed = replace(obeyed, robot=replace(obeyed.robot, budgets=replace(robot.budgets, tracking_error_rad=math.inf)))
        self._names = messages.command_names(robot)
        self._output = command_output(self, robot, drive)
        core = ChunkExecutor(obeyed, urdf, hardware=drive is not None)
        with self._lock:
            self._core = core
        if self._link is not None:
            self._link.repeat()
        commands_qos = qos.STEPPED_REFERENCE if stepped else qos.REFERENCE
        self._reference = self.create_publisher(JointTrajectory, "lawam/reference", commands_qos)
        self._poses = {arm.name: self.create_publisher(PoseStamped, f"lawam/reference_pose/{arm.name}", commands_qos) for arm in robot.arms}
        self._status = self.create_publisher(DiagnosticArray, "lawam/status", qos.STEPPED_STATUS if stepped else qos.LATCHED)
        self._trigger_services = [
            self.create_service(Trigger, "~/hold", lambda _, reply: self._requested(reply, "hold")),
            self.create_service(Trigger, "~/stop", lambda _, reply: self._requested(reply, "stop")),
            self.create_service(Trigger, "~/reset", lambda _, reply: self._reset(reply)),
        ]
        if self._link is not None:
            self._trigger_services.append(self.create_service(Trigger, "~/recover", lambda _, reply: self._recover(reply)))
        self._reference_every = max(1, round(robot.tick_hz / float(self.get_parameter("reference_hz").value)))
        self._status_every = max(1, round(robot.tick_hz / float(self.get_parameter("status_hz").value)))
        core.set_instruction(str(self.get_parameter("instruction").value), self._now_ns())
        if stepped:
            self._reference_every = self._status_every = 1
            self._stamps = StampClock(0)
            latency_ns = round(float(self.get_parameter("lockstep_latency_s").value) * 1e9)
            further = [self.resolve_topic_name(REFERENCE_TOPIC)] if self._recorded is not None else []
            self._stepped = SteppedTicks(self.resolve_topic_name(robot.joint_states_topic), latency_ns, further)
        self._start_motion_inputs(self._contract)
        if self._stepped is None:
            self._tick = TickThread(robot.tick_period_ns, self._on_tick, self._on_tick_failed)
            self._tick.start()

    def _look_for_another(self) -> None:
        """Two executors on one arm would interleave their set-points: the second must not even show the first another publisher.

        Raises InputMissing while another one may not have been seen yet, UserMistake where one is seen.
        """
        wait_s = float(self.get_parameter("discovery_s").value)
        if time.monotonic() - self._started_s < wait_s:
            raise InputMissing(f"other publishers of {self._command_topic} are certain to be seen {wait_s:g} s after the start")
        other = other_publishers(self, self._command_topic, 0)
        if other:
            raise UserMistake(other)

    def start(self) -> None:
        self._second_command = other_publishers(self, self._command_topic, 1)
        if self._second_command:
            raise UserMistake(self._second_command)
        problem = self._publishers_problem()
        if problem:
            raise InputMissing(problem)
        with self._lock:
            assert self._core is not None
            self._start_as_recorded(self._core)
            try:
                self._core.activate(self._now_ns())
            except ActivationRefused as refusal:
                raise InputMissing(str(refusal)) from refusal
        if self._stepped is not None:
            self._answer_again()

    def _replays(self) -> bool:
        """Raises UserMistake for a replay with real hardware: nothing would notice an arm that does not follow."""
        replays = bool(check_replay(str(self.get_parameter("replay").value)))
        if replays and self.get_parameter("hardware").value != SIM:
            raise UserMistake("parameter replay: expected none with real hardware, whose joints are not recorded ones")
        return replays

    def _start_as_recorded(self, core: ChunkExecutor) -> None:
        """In a replay the first command is the recorded one, where there is one."""
        now_ns = self._now_ns()
        sample = self._recorded.newest_until(self._stamps.to_ros(now_ns)) if self._recorded is not None else None
        if sample is not None:
            core.measured(now_ns, joints_of_command(sample.value, self._contract.robot))

    def stop(self) -> None:
        """Brakes to rest; returns when the arm's command is at rest, and its readers have been told."""
        with self._lock:
            assert self._core is not None
            self._core.deactivate(self._now_ns())
        deadline = time.monotonic() + _REST_TIMEOUT_S
        while time.monotonic() < deadline:
            with self._lock:
                if self._core.status.state == "INACTIVE" and not self._was_active:
                    break
                if self._stepped is not None and self._stepped.silent_s > SILENT_S:
                    self._tick_core(self._stepped.now_ns + self._contract.robot.tick_period_ns)
            time.sleep(0.005)
        else:
            raise LawamError(f"expected the arm to come to rest within {_REST_TIMEOUT_S} s of deactivation; it did not")
        self._output.publisher.wait_for_all_acked(_LAST_WORD)  # the publisher may go next, and with it what was not delivered

    def teardown(self) -> None:
        if self._tick is not None:
            self._tick.stop()
            self._tick = None
        if self._motion is not None:
            self._motion.close()
            self._motion = None
        if self._link is not None:
            self._link.close()
            self._link = None
        self._core = None

    def report(self) -> tuple[str, dict[str, object]]:
        if self._core is None:
            return "", {}
        with self._lock:
            status = self._core.status
        values: dict[str, object] = {"state": status.state, "reason": status.reason, "epoch": status.epoch}
        values |= {"rejected": status.rejected, "rejected_reason": status.rejected_reason, **self._counters}
        for name, rate in self._rates.items():
            values |= rate.report(name, self._now_ns())
        values |= {"bad_messages": self._bad_messages, "last_bad_message": self._last_bad}
        values |= self._tick.statistics() if self._tick is not None else {}
        values |= self._link.report() if self._link is not None else {}
        return status.reason if status.state in ("STOP", "LATCHED") else "", values

    def warning(self) -> str:
        return "; ".join(text for text in (self._second_chunks, self._link.warning() if self._link is not None else "") if text)

    def _tell_controller(self, say: Callable[[ControllerWatch], None]) -> None:
        self._tell(lambda core: None if core.controller is None else say(core.controller))

    def _gripper_wish(self) -> GripperWish | None:
        with self._lock:
            if self._core is None or self._last_output is None or self._last_output.command is None:
                return None
            arm = self._contract.robot.arms[0].name
            commanded = self._last_output.command.gripper_m[arm]
            measured = self._core.measured_openings_m.get(arm, commanded)
            return GripperWish(self._last_output.status.state == "RUN", commanded, measured)

    def _publishers_problem(self) -> str:
        """Why motion must not start or go on beside the other publishers that are there now; empty when it may."""
        robot = self._contract.robot
        self._second_command = other_publishers(self, self._command_topic, 1)
        self._second_chunks = other_publishers(self, CHUNK_TOPIC, 1)
        return self._second_command or (self._second_chunks if robot.safety.second_chunk_publisher == "stop" else "")

    def _watch_publishers(self) -> None:
        if self._core is None:
            return
        problem = self._publishers_problem()
        if problem:
            with self._lock:
                if self._core is not None and self._core.status.state in ("RUN", "HOLD"):
                    self.get_logger().error(problem)
                    reason = "second_command_publisher" if self._second_command else "second_chunk_publisher"
                    self._core.request_stop(reason, self._now_ns())

    def _start_motion_inputs(self, contract: Contract) -> None:
        motion = inputs_node(self)

        def subscribe(type_: Any, topic: str, callback: Any, profile: QoSProfile) -> None:
            motion.create_subscription(type_, topic, callback, profile, event_callbacks=self.mismatches.of_subscription(topic))

        stepped = self._stepped is not None
        for topic in joint_states_topics(contract.robot, self._drive):
            subscribe(JointState, topic, self._on_joint_states, qos.STEPPED if stepped else qos.SENSOR)
        subscribe(JointTrajectory, CHUNK_TOPIC, self._on_chunk, qos.CHUNK)
        if self._recorded is not None:
            subscribe(JointTrajectory, REFERENCE_TOPIC, self._on_recorded, qos.RECORDED)
        if stepped:
            subscribe(DiagnosticArray, STEP_TOPIC, self._on_step, qos.STEPPED)
        else:
            subscribe(Header, "lawam/heartbeat", self._on_heartbeat, qos.BEAT)
            subscribe(Bool, "lawam/deadman", self._on_deadman, qos.BEAT)
        for profile in (qos.ANY_PUBLISHER, qos.LATCHED):
            for type_, topic, callback in ((String, "instruction", self._on_instruction), (Bool, "lawam/estop", self._on_estop)):
                motion.create_subscription(type_, topic, callback, profile, event_callbacks=self.mismatches.expected())
        self._motion = OwnThread(motion, "motion-inputs")

    def _on_joint_states(self, message: JointState) -> None:
        self._rates["joint_states"].heard(self._now_ns())
        try:
            positions = messages.joint_positions(message)
        except messages.BadMessage as error:
            self._count_bad(f"joint_states: {error}")
            return
        stamp_ns = self._stamps.to_clock(messages.nanoseconds(message.header.stamp))
        if self._stepped is None:
            now_ns = self._now_ns()
            if stamp_ns - now_ns > self._contract.robot.budgets.future_stamp_s * 1e9:  # it would be young for as long after the last one
                self._count_bad(f"joint_states: stamped {(stamp_ns - now_ns) * 1e-9:.2f} s in the future")
                return
            stamp_ns = min(stamp_ns, now_ns)
        self._tell(lambda core: core.measured(stamp_ns, positions))
        if self._stepped is not None:
            self._stepped.ledger.arrived(self._stepped.topic, messages.nanoseconds(message.header.stamp))
            self._tick_when_complete(self._stepped)

    def _on_recorded(self, message: JointTrajectory) -> None:
        assert self._recorded is not None
        try:
            command = messages.command_from_message(message, self._contract.robot)
        except messages.BadMessage as error:
            self._count_bad(f"{REFERENCE_TOPIC}: {error}")
            return
        self._recorded.push(command.stamp_ns, command)
        if self._stepped is not None:
            self._stepped.ledger.arrived(self.resolve_topic_name(REFERENCE_TOPIC), command.stamp_ns)
            self._tick_when_complete(self._stepped)

    def _on_step(self, message: DiagnosticArray) -> None:
        assert self._stepped is not None
        try:
            step_ns, newest = step_from_message(message)
        except messages.BadMessage as error:
            self._count_bad(f"{STEP_TOPIC}: {error}")
            return
        if self._stepped.announced(step_ns, newest):
            self._tick_when_complete(self._stepped)
        else:
            self._answer_again()

    def _answer_again(self) -> None:
        """The last step's answer, with the state as it is now: transitions come between steps."""
        with self._lock:
            if self._core is not None and self._last_output is not None:
                self._publish(replace(self._last_output, status=self._core.status), 0)

    def _tick_when_complete(self, stepped: SteppedTicks) -> None:
        due_ns = stepped.due_ns()
        if due_ns is None:
            return
        with self._lock:
            if self._core is not None:
                self._tick_core(due_ns)

    def _tick_core(self, now_ns: int) -> None:
        """One tick of stepped time; with the lock held."""
        assert self._core is not None and self._stepped is not None
        for chunk in self._stepped.released(now_ns):
            self._offer(chunk, now_ns)
        self._stepped.ticked_ns = now_ns
        try:
            output = self._core.tick(now_ns)
        except Exception:  # as in the tick thread: half a command is worse than none
            traceback.print_exc(file=sys.stderr)
            self._on_tick_failed()
            raise
        self._counters = output.counters
        self._last_output = output
        self._publish(output, 0)

    def _offer(self, chunk: ActionChunk, now_ns: int) -> None:
        assert self._core is not None
        reason = self._core.offer_chunk(chunk, now_ns)
        if reason is not None:
            self.get_logger().warning(f"chunk {chunk.sequence} rejected: {reason}", throttle_duration_sec=1.0)

    def _now_ns(self) -> int:
        """The clock of the core: monotonic, or stepped time."""
        return time.monotonic_ns() if self._stepped is None else self._stepped.now_ns

    def _on_chunk(self, message: JointTrajectory) -> None:
        now_ns = self._now_ns()
        self._rates["chunk"].heard(now_ns)
        try:
            chunk = messages.chunk_from_message(message)
        except messages.BadMessage as error:
            self._count_bad(f"action_chunk: {error}")
            with self._lock:
                if self._core is not None:
                    self._core.reject(str(error))
                    self._judged(messages.nanoseconds(message.header.stamp))
            return
        with self._lock:
            if self._core is None:
                return
            if self._stepped is None:
                self._offer(replace(chunk, stamp_ns=self._stamps.to_clock(chunk.stamp_ns)), now_ns)
                return
            self._stepped.hold(chunk)
            self._judged(chunk.stamp_ns)

    def _judged(self, stamp_ns: int) -> None:
        """In lock step, the owner of time waits to hear that a chunk is in hand."""
        if self._stepped is None or self._core is None:
            return
        self._stepped.judged_ns = max(self._stepped.judged_ns, stamp_ns)
        if self._last_output is not None:
            self._publish_status(self._core.status, self._stepped.now_ns)

    def _tell(self, say: Callable[[ChunkExecutor], None]) -> None:
        with self._lock:
            if self._core is not None:
                say(self._core)

    def _on_heartbeat(self, message: Header) -> None:
        self._rates["heartbeat"].heard(self._now_ns())
        self._tell(lambda core: core.heartbeat(self._now_ns()))

    def _on_deadman(self, message: Bool) -> None:
        self._tell(lambda core: core.deadman(message.data, self._now_ns()))

    def _on_estop(self, message: Bool) -> None:
        self._tell(lambda core: core.estop(message.data, self._now_ns()))

    def _on_instruction(self, message: String) -> None:
        if message.data.strip():
            self._tell(lambda core: core.set_instruction(message.data, self._now_ns()))

    def _count_bad(self, what: str) -> None:
        self._bad_messages += 1
        self._last_bad = what
        self.get_logger().warning(f"bad message dropped: {what}", throttle_duration_sec=1.0)

    def _requested(self, reply: Trigger.Response, kind: str) -> Trigger.Response:
        with self._lock:
            assert self._core is not None
            request = self._core.request_hold if kind == "hold" else self._core.request_stop
            request("requested", self._now_ns())
        reply.success, reply.message = True, f"{kind} requested"
        return reply

    def _reset(self, reply: Trigger.Response) -> Trigger.Response:
        refusal: str | None = self._publishers_problem()
        if not refusal:
            with self._lock:
                assert self._core is not None
                refusal = self._core.reset(self._now_ns())
        reply.success, reply.message = refusal is None, refusal or "reset"
        return reply

    def _recover(self, reply: Trigger.Response) -> Trigger.Response:
        assert self._core is not None and self._link is not None
        if self._core.status.state not in ("INACTIVE", "LATCHED"):
            problem = f"expected LATCHED or INACTIVE to recover, the executor is in {self._core.status.state}"
        else:
            problem = self._link.recover()
        reply.success, reply.message = not problem, problem or "recovered; reset starts from the measured pose"
        return reply

    def _on_tick(self, deadline_ns: int, index: int) -> None:
        offset_ns = read_offset_ns(lambda: self.get_clock().now().nanoseconds)
        with self._lock:
            core = self._core
            if core is None:
                return
            if offset_ns is not None:
                self._stamps, jumped = follow(self._stamps, offset_ns)
                if jumped:
                    core.clock_jumped(deadline_ns)
            output = core.tick(deadline_ns)
        self._counters = output.counters
        self._last_output = output
        self._publish(output, index)

    def _on_tick_failed(self) -> None:
        self.exit_code = EXIT_CRITERION_MISSED
        self.finished.set()

    def _publish(self, output: TickOutput, index: int) -> None:
        """Set-point first: whoever reads LATCHED has then been sent the set-point at rest."""
        robot, command = self._contract.robot, output.command
        active = output.status.state != "INACTIVE"
        if command is not None and not output.repeated:
            stamp_ns = self._stamps.to_ros(command.stamp_ns)
            message = messages.command_to_message(command, robot, stamp_ns, self._names)
            if active or self._was_active:  # the tick that deactivates still carries the set-point at rest
                self._output.publish(message, output, self._stamps)
            if index % self._reference_every == 0:
                self._reference.publish(message)
                for arm in robot.arms:
                    self._poses[arm.name].publish(messages.pose_to_message(output.poses[arm.name], stamp_ns, arm.base_frame))
        self._was_active = active
        if output.status != self._published_status or index % self._status_every == 0:
            now_ns = self._stamps.to_ros(self._now_ns() if command is None else command.stamp_ns)
            self._publish_status(output.status, now_ns)

    def _publish_status(self, status: Status, stamp_ns: int) -> None:
        if self._stepped is not None and self._stepped.judged_ns >= 0:
            status = replace(status, judged_stamp_ns=self._stepped.judged_ns)
        self._status.publish(status_to_message(status, self._stamps, stamp_ns))
        self._published_status = status


def main() -> int:
    raise_priority(EXECUTOR)  # before the middleware starts its threads: joint states must come through a busy machine too
    lock_memory()
    return run(ChunkExecutorNode)


if __name__ == "__main__":
    sys.exit(main())
