"""Chunk executor node: action chunks in, limited set-points out at the tick rate. Owns safety; imports no torch and no OpenCV.

Three threads meet in ``SharedCore``: the tick on absolute deadlines of the monotonic clock; the inputs from topics; services and
transitions in the main spinner, which only set requests and wait. In lock step there is no tick thread: the inputs tick, when all of a
step has arrived. A real robot's controller, or a bridge, has a link and a thread of its own.
"""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from rclpy.duration import Duration
from std_srvs.srv import Trigger

from lawam_ros.contract.errors import LawamError, UserMistake
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.robot import Robot, Safety
from lawam_ros.contract.transport import ACQUAINTED_S, wait_for_nobody
from lawam_ros.control import ladder
from lawam_ros.control.controller_watch import ControllerWatch
from lawam_ros.control.executor import ActivationRefused, ChunkExecutor
from lawam_ros.control.ladder import Rung, State
from lawam_ros.control.measured import joints_of_command
from lawam_ros.nodes.bridge_link import BridgeLink
from lawam_ros.nodes.command_outputs import command_topic
from lawam_ros.nodes.executor_inputs import CHUNK_TOPIC, HEARTBEAT_TOPIC, ExecutorInputs
from lawam_ros.nodes.executor_outputs import ExecutorOutputs
from lawam_ros.nodes.gripper_actions import GripperWish
from lawam_ros.nodes.hardware import HARDWARE, SIM, linked, wanted_drive
from lawam_ros.nodes.lock_step import LATENCY, LOCKSTEP
from lawam_ros.nodes.managed import InputMissing, ManagedNode, run
from lawam_ros.nodes.other_publishers import other_publishers
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.priority import EXECUTOR, lock_memory, raise_priority
from lawam_ros.nodes.replay_inputs import REFERENCE_TOPIC, REPLAY, check_replay
from lawam_ros.nodes.robot_link import RobotLink
from lawam_ros.nodes.shared_core import SharedCore
from lawam_ros.nodes.stamp_clock import StampClock, follow, read_offset_ns
from lawam_ros.nodes.stepped_core import SteppedCore
from lawam_ros.nodes.stepped_ticks import SteppedTicks
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
    ACQUAINTED_S,
    "Seconds from its start in which the executor is not configured, since another one may not have been seen yet: a participant of "
    "Fast DDS whose first announcements were lost is heard within 3 s.",
    low=0.0,
    high=60.0,
)
AWAIT_POLICY = Parameter(
    "await_policy",
    False,
    "With autostart, activate only when a policy's heartbeat has been there for as long as discovery_s: whoever joins may keep the others "
    "silent for a third of a second.",
)
TABLE = (INSTRUCTION, STATUS_HZ, REFERENCE_HZ, DISCOVERY, AWAIT_POLICY, HARDWARE, LOCKSTEP, LATENCY, REPLAY)

_REST_TIMEOUT_S = 5.0
_PUBLISHERS_S = 1.0
_LAST_WORD_S = 0.2
_UNCONFIGURED = "the executor is not configured: nothing moves"


class ChunkExecutorNode(ManagedNode):
    """Wires ``control.executor.ChunkExecutor`` to topics, services and the monotonic clock."""

    def __init__(self) -> None:
        super().__init__("chunk_executor", TABLE)
        self._started_s = time.monotonic()
        self._shared = SharedCore(StampClock(int(self.get_clock().now().nanoseconds) - time.monotonic_ns()))
        self._tick: TickThread | None = None
        self._steps: SteppedCore | None = None
        self._inputs: ExecutorInputs | None = None
        self._link: RobotLink | BridgeLink | None = None
        self._recorded: TimedBuffer[JointCommand] | None = None
        self._second_command = ""
        self._second_chunks = ""
        self._publishers_timer = self.create_timer(_PUBLISHERS_S, self._watch_publishers)

    def setup(self) -> None:
        contract = self._contract = self.contract()
        robot = contract.robot
        path = urdf_dir() / robot.urdf
        if not path.is_file():
            raise LawamError(f"expected the robot description {robot.urdf} in the urdf folder, found none")
        urdf = path.read_text(encoding="utf-8")
        stepped = bool(self.get_parameter("lockstep").value)
        # Nobody's silence counts in stepped time, where all wait for each other.
        obeyed = replace(contract, robot=replace(robot, safety=Safety())) if stepped else contract
        replays = self._replays()
        drive = wanted_drive(str(self.get_parameter("hardware").value), robot, stepped)
        self._command_topic = command_topic(robot, drive)
        if not stepped:
            self._look_for_another()
        if drive is not None:
            self._link, narrowed = linked(self, contract, drive, urdf, self._tell_controller, self._gripper_wish)
            obeyed = replace(obeyed, robot=narrowed)
        if replays:  # recorded joints follow the recorded commands, not the new ones
            self._recorded = TimedBuffer(600)
            obeyed = replace(obeyed, robot=replace(obeyed.robot, budgets=replace(robot.budgets, tracking_error_rad=math.inf)))
        # Before the core, which takes a while to build: whoever reads has found them when it moves.
        self._outputs = ExecutorOutputs(self, self._shared, robot, drive, stepped, *(1, 1) if stepped else self._every(robot))
        core = ChunkExecutor(obeyed, urdf, hardware=drive is not None)
        steps = self._stepped_time(robot) if stepped else None
        core.set_instruction(str(self.get_parameter("instruction").value), self._shared.now_ns())
        self._shared.put(core)
        if self._link is not None:
            self._link.repeat()
        if steps is not None:
            self._steps = SteppedCore(self._shared, steps, self._outputs, robot.tick_period_ns)
        self._offer_services()
        self._inputs = ExecutorInputs(self, self._shared, robot, drive, self._steps, self._recorded)
        if not stepped:
            self._tick = TickThread(robot.tick_period_ns, self._on_tick, self.fail)
            self._tick.start()

    def _replays(self) -> bool:
        """Raises UserMistake for a replay with real hardware: nothing would notice an arm that does not follow."""
        replays = bool(check_replay(str(self.get_parameter("replay").value)))
        if replays and self.get_parameter("hardware").value != SIM:
            raise UserMistake("parameter replay: expected none with real hardware, whose joints are not recorded ones")
        return replays

    def _stepped_time(self, robot: Robot) -> SteppedTicks:
        """From here on the core's clock is the simulation's."""
        latency_ns = round(float(self.get_parameter("lockstep_latency_s").value) * 1e9)
        further = [self.resolve_topic_name(REFERENCE_TOPIC)] if self._recorded is not None else []
        steps = SteppedTicks(self.resolve_topic_name(robot.joint_states_topic), latency_ns, further)
        self._shared.now_ns, self._shared.stamps = lambda: steps.now_ns, StampClock(0)
        return steps

    def _every(self, robot: Robot) -> tuple[int, int]:
        """After how many ticks the reference and an unchanged status are published."""
        reference, status = (max(1, round(robot.tick_hz / float(self.get_parameter(name).value))) for name in ("reference_hz", "status_hz"))
        return reference, status

    def _offer_services(self) -> None:
        self.create_service(Trigger, "~/hold", lambda _, reply: self._requested(reply, State.HOLD))
        self.create_service(Trigger, "~/stop", lambda _, reply: self._requested(reply, State.STOP))
        self.create_service(Trigger, "~/reset", lambda _, reply: self._reset(reply))
        if self._link is not None:
            self.create_service(Trigger, "~/recover", lambda _, reply: self._recover(reply))

    def start(self) -> None:
        self._second_command = other_publishers(self, self._command_topic, 1)
        if self._second_command:
            raise UserMistake(self._second_command)
        problem = self._publishers_problem() or self._policy_missing()
        if problem:
            raise InputMissing(problem)
        try:
            self._shared.tell(self._activate)
        except ActivationRefused as refusal:
            raise InputMissing(str(refusal)) from refusal
        if self._steps is not None:
            self._steps.answer_again()

    def _activate(self, core: ChunkExecutor) -> None:
        """In a replay the first command is the recorded one, where there is one."""
        now_ns = self._shared.now_ns()
        sample = self._recorded.newest_until(self._shared.stamps.to_ros(now_ns)) if self._recorded is not None else None
        if sample is not None:
            core.measured(now_ns, joints_of_command(sample.value, self._contract.robot))
        core.activate(now_ns)

    def stop(self) -> None:
        """Brakes to rest; returns when the arm's command is at rest, and its readers have been told."""
        self._shared.tell(lambda core: core.deactivate(self._shared.now_ns()))
        deadline_s = time.monotonic() + _REST_TIMEOUT_S
        while not self._at_rest():
            if self._tick is not None and not self._tick.alive:
                raise LawamError("expected ticks that bring the arm to rest, they have ended by an error; whoever drives it hears no more")
            if time.monotonic() > deadline_s:
                raise LawamError(f"expected the arm to come to rest within {_REST_TIMEOUT_S} s of deactivation; it did not")
            if self._steps is not None:
                self._steps.brake_alone()
            time.sleep(0.005)
        self._deliver()

    def _deliver(self) -> None:
        """What was published reaches its readers before the publisher may go. Asked again and again, since rclpy holds the interpreter's
        lock while it waits: no tick, and no joint states meanwhile."""
        deadline_s = time.monotonic() + _LAST_WORD_S
        while not self._outputs.commands.wait_for_all_acked(Duration()) and time.monotonic() < deadline_s:
            time.sleep(0.005)

    def _at_rest(self) -> bool:
        """The core has deactivated, and the tick in which it did has been published."""
        return self._shared.tell(lambda core: core.status.state) == State.INACTIVE and not self._outputs.was_active

    def teardown(self) -> None:
        if self._tick is not None:
            self._tick.stop()
        for part in (self._inputs, self._link):
            if part is not None:
                part.close()
        self._tick = self._inputs = self._link = self._steps = self._recorded = None
        self._shared.put(None)

    def report(self) -> tuple[str, dict[str, object]]:
        tick, inputs, link, output = self._tick, self._inputs, self._link, self._shared.output
        status = self._shared.tell(lambda core: core.status)
        if status is None:
            return "", {}
        values: dict[str, object] = {"state": status.state, "reason": status.reason, "epoch": status.epoch}
        values |= {"rejected": status.rejected, "rejected_reason": status.rejected_reason}
        values |= output.counters if output is not None else {}
        values |= inputs.report() if inputs is not None else {}
        values |= tick.statistics() if tick is not None else {}
        values |= link.report() if link is not None else {}
        return status.reason if status.state in (State.STOP, State.LATCHED) else "", values

    def warning(self) -> str:
        link = self._link
        return "; ".join(text for text in (self._second_chunks, link.warning() if link is not None else "") if text)

    def _on_tick(self, deadline_ns: int, index: int) -> None:
        shared, offset_ns = self._shared, read_offset_ns(lambda: self.get_clock().now().nanoseconds)
        with shared.lock:
            if shared.core is None:
                return
            if offset_ns is not None:
                shared.stamps, jumped = follow(shared.stamps, offset_ns)
                if jumped:
                    shared.core.clock_jumped(deadline_ns)
            output = shared.output = shared.core.tick(deadline_ns)
        self._outputs.publish(output, index)

    def _tell_controller(self, say: Callable[[ControllerWatch], None]) -> None:
        self._shared.tell(lambda core: None if core.controller is None else say(core.controller))

    def _gripper_wish(self) -> GripperWish | None:
        with self._shared.lock:
            core, output = self._shared.core, self._shared.output
            if core is None or output is None or output.command is None:
                return None
            arm = self._contract.robot.arms[0].name
            commanded = output.command.gripper_m[arm]
            return GripperWish(output.status.state == State.RUN, commanded, core.measured_openings_m.get(arm, commanded))

    def _policy_missing(self) -> str:
        """Why the policy is not known to everybody yet; empty where it is, or is not awaited."""
        if self._inputs is None or not (self.starts_itself and self.get_parameter("await_policy").value):
            return ""
        heard_for_s, wait_s = self._inputs.policy_heard_for_s(), float(self.get_parameter("discovery_s").value)
        if heard_for_s is None:
            return f"no heartbeat of a policy on {self.resolve_topic_name(HEARTBEAT_TOPIC)}"
        return f"the policy is there, all know it within {wait_s:g} s" if heard_for_s < wait_s else ""

    # Other publishers

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

    def _publishers_problem(self) -> str:
        """Why motion must not start or go on beside the other publishers that are there now; empty when it may."""
        self._second_command = other_publishers(self, self._command_topic, 1)
        self._second_chunks = other_publishers(self, CHUNK_TOPIC, 1)
        return self._second_command or (self._second_chunks if self._contract.robot.safety.second_chunk_publisher == "stop" else "")

    def _watch_publishers(self) -> None:
        if self._shared.core is None:
            return
        problem = self._publishers_problem()
        stopped = self._shared.tell(self._stop_for_another) if problem else False
        if stopped:
            self.get_logger().error(problem)

    def _stop_for_another(self, core: ChunkExecutor) -> bool:
        """Whether there was anything to stop."""
        moving = core.status.state in (State.RUN, State.HOLD)
        if moving:
            core.request_stop("second_command_publisher" if self._second_command else "second_chunk_publisher", self._shared.now_ns())
        return moving

    # Services

    def _requested(self, reply: Trigger.Response, asked: State) -> Trigger.Response:
        def ask(core: ChunkExecutor) -> Rung:
            request = core.request_hold if asked == State.HOLD else core.request_stop
            request("requested", self._shared.now_ns())
            return Rung(State(core.status.state), core.status.reason)

        rung = self._shared.tell(ask)
        reply.success, reply.message = (False, _UNCONFIGURED) if rung is None else ladder.answer(rung)
        return reply

    def _reset(self, reply: Trigger.Response) -> Trigger.Response:
        refusal = self._publishers_problem() or self._shared.tell(lambda core: core.reset(self._shared.now_ns()) or "")
        reply.success, reply.message = refusal == "", "reset" if refusal == "" else refusal or _UNCONFIGURED
        return reply

    def _recover(self, reply: Trigger.Response) -> Trigger.Response:
        state, link = self._shared.tell(lambda core: core.status.state), self._link
        if state is None or link is None:
            problem = _UNCONFIGURED
        elif state not in (State.INACTIVE, State.LATCHED):
            problem = f"expected LATCHED or INACTIVE to recover, the executor is in {state}"
        else:
            problem = link.recover()
        reply.success, reply.message = not problem, problem or "recovered; reset starts from the measured pose"
        return reply


def main() -> int:
    raise_priority(EXECUTOR)  # before the middleware starts its threads: joint states must come through a busy machine too
    lock_memory()
    wait_for_nobody()
    return run(ChunkExecutorNode)


if __name__ == "__main__":
    sys.exit(main())
