"""The chunk executor without clock and without ROS: chunks in, one joint command per tick out, the stop ladder in between."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.load import Contract
from lawam_ros.contract.real import TRAJECTORY_WINDOW, RealRobot
from lawam_ros.contract.records import ActionChunk, JointCommand
from lawam_ros.control import ladder
from lawam_ros.control.acceptance import Situation, judge_chunk
from lawam_ros.control.controller_watch import ControllerWatch
from lawam_ros.control.ladder import Event, Rung, State, climb
from lawam_ros.control.measured import MeasuredJoints
from lawam_ros.control.motion import Motion
from lawam_ros.control.operator_inputs import OperatorInputs
from lawam_ros.control.rolling_window import RollingWindow
from lawam_ros.control.shortfalls import Shortfalls
from lawam_ros.control.tick_output import Status, TickOutput

Array = NDArray[np.float64]

MAX_MADE_UP_PERIODS = 3
CATCH_UP_NS = 20_000_000
"""After a stall of our own, for so long nobody's silence counts: what was said meanwhile is still in the queues. Once only until joint
states are heard again, so that stall upon stall cannot hide their loss."""
_HOLD_TIMEOUT_S = 3.0


class ActivationRefused(LawamError):
    """Motion must not start: the sentence says why."""


class ChunkExecutor:
    """Deterministic: the same calls with the same times give the same commands. All times are int ns on one clock of the caller's.

    Call ``tick`` every robot period; everything else may be called in between, from the same thread. Commands are stamped on a grid of
    whole periods. Inactive, the command echoes the measured joints at rest.
    """

    def __init__(self, contract: Contract, urdf_text: str, hardware: bool = False) -> None:
        """hardware: drive the robot as its section ``real`` or ``bridge`` says. Commands to a trajectory controller are then stamped ahead
        of time, and ``controller`` must be told what controller and robot say."""
        self._contract = contract
        self._robot = contract.robot
        self._period_ns = contract.robot.tick_period_ns
        self._motion = Motion(contract.robot, urdf_text, contract.task.merge)
        self._measured = MeasuredJoints(contract.robot)
        self._operator = OperatorInputs(contract.robot.safety)
        drive = contract.robot.drive if hardware else None
        windowed = isinstance(drive, RealRobot) and drive.output == TRAJECTORY_WINDOW
        self.controller = None if drive is None else ControllerWatch(drive)
        self._window = RollingWindow(drive.window, self._period_ns) if isinstance(drive, RealRobot) and windowed else None
        self._lead_ns = self._window.lead_ns if self._window else 0
        # Commands ahead of time are no burst: whatever the lead holds is made up.
        self._made_up_periods = max(MAX_MADE_UP_PERIODS, self._lead_ns // self._period_ns + 1)
        self._stopping = False
        self._rung = Rung()
        self._stamp_ns = 0
        self._epoch = 0
        self._epoch_stamp_ns = 0
        self._instruction = contract.task.instruction
        self._initialised_from = ""
        self._resting_since_ns: int | None = None
        self._accepted_sequence: int | None = None
        self._judged_stamp_ns: int | None = None
        self._rejected = 0
        self._rejected_reason = ""
        self._heartbeat_ns: int | None = None
        self._deaf_until_ns = 0
        self._excused = False
        self._deactivating = False
        self._braking_since_ns: int | None = None
        self._shortfalls = Shortfalls(contract.robot.budgets.tracking_error_rad)
        self._counters = {"ticks": 0, "late_ticks": 0, "retimed_ticks": 0, "guard_failures": 0}

    # Inputs

    def set_instruction(self, text: str, now_ns: int) -> None:
        """A changed instruction raises the epoch: chunks inferred for the old one are refused."""
        if text != self._instruction:
            self._instruction = text
            self._raise_epoch(now_ns)

    def measured(self, stamp_ns: int, positions: Mapping[str, float]) -> None:
        """Measured joint positions by URDF name (rad; fingers in m). One not finite or far outside its limits stops the arm."""
        before_ns = self._measured.stamp_ns
        self._measured.update(stamp_ns, positions)
        if self._measured.stamp_ns != before_ns:
            self._excused = False
        if self._measured.broken:
            self.request_stop("joint_states_invalid", stamp_ns)
        elif self._measured.far_outside:
            self.request_stop("joint_out_of_limits", stamp_ns)

    def heartbeat(self, now_ns: int) -> None:
        """The policy is alive. Its silence is watched from the first one after activation on."""
        self._heartbeat_ns = now_ns

    def deadman(self, held: bool, now_ns: int) -> None:
        """What the dead-man switch says; released stops the arm where the robot file requires it."""
        self._operator.deadman(held, now_ns)
        self._obey_operator(now_ns)

    def estop(self, pressed: bool, now_ns: int) -> None:
        """What the emergency stop says; pressed stops the arm."""
        self._operator.estop(pressed, now_ns)
        self._obey_operator(now_ns)

    def offer_chunk(self, chunk: ActionChunk, now_ns: int) -> str | None:
        """Take a chunk and release it at once, or refuse it. None: it runs; else a short reason."""
        reason = self._refusal() or judge_chunk(chunk, self._contract, self._situation(now_ns))
        self._judged_stamp_ns = chunk.stamp_ns
        if reason is not None:
            self.reject(reason)
            return reason
        self._accepted_sequence = chunk.sequence
        self._motion.release(chunk, self._contract.task.policy.action_hz, self._stamp_ns, self._resting_since_ns)
        self._rung = climb(self._rung, Event.CHUNK)
        self._resting_since_ns = None
        self._shortfalls.new_targets()
        return None

    def reject(self, reason: str) -> None:
        """Count a chunk that is refused, here or before it could be read."""
        self._rejected += 1
        self._rejected_reason = reason

    # The ladder from outside

    def activate(self, now_ns: int) -> None:
        """Start at rest from the measured joints, in HOLD(waiting_for_chunk), with a new epoch. Raises ActivationRefused.

        On hardware whose controller has not been restarted since, the last command is the start.
        """
        if self._rung.state != State.INACTIVE:
            raise ActivationRefused(f"expected an inactive executor to activate, it is in {self._rung.state}; deactivate it first")
        if not self._instruction.strip():
            raise ActivationRefused("expected an instruction for the policy, got an empty one; pass instruction:='what to do'")
        measured = self.controller is None or self.controller.restarted
        problem = self._inputs_problem(now_ns) or ("" if measured else self._distance_problem() or self._place_problem())
        if problem:
            raise ActivationRefused(problem)
        self._heartbeat_ns = None
        self._deactivating = False
        ticked_ns = self._stamp_ns if 0 <= now_ns - self._stamp_ns <= self._period_ns else now_ns  # stamps are those of the ticks
        self._stamp_ns = ticked_ns + self._lead_ns
        self._start_at_rest(measured)
        self._resting_since_ns = now_ns
        self._forget_troubles()
        self._raise_epoch(now_ns)
        self._rung = climb(self._rung, Event.ACTIVATE, ladder.WAITING)

    def deactivate(self, now_ns: int) -> None:
        """Brake to rest on the path, then INACTIVE (some ticks later, see the status)."""
        if self._rung.state != State.INACTIVE:
            self._deactivating = True
            self.request_hold(ladder.DEACTIVATING, now_ns)

    def request_hold(self, reason: str, now_ns: int) -> None:
        """Brake to rest on the path. A reason of the caller's own lasts until ``release_hold`` or ``reset``."""
        self._rung = climb(self._rung, Event.HOLD, reason)

    def release_hold(self, reason: str, now_ns: int) -> None:
        """The reason of a hold is gone: the next chunk may move the arm."""
        if self._rung == Rung(State.HOLD, reason):
            self._rung = Rung(State.HOLD, ladder.WAITING)

    def request_stop(self, reason: str, now_ns: int) -> None:
        """Largest allowed deceleration of every joint, then LATCHED."""
        self._rung = climb(self._rung, Event.STOP, reason)

    def reset(self, now_ns: int) -> str | None:
        """Leave LATCHED (or a lasting HOLD) for HOLD(waiting_for_chunk) from the last command. None, or a sentence why not.

        After a restart of the controller it starts from the measured joints.
        """
        if self._rung.state not in (State.LATCHED, State.HOLD):
            return f"expected LATCHED or HOLD to reset, the executor is in {self._rung.state}"
        if self._deactivating:
            return "the executor is being deactivated; activate it instead"
        if not self._stands(now_ns):
            return "the arm has not come to rest yet; reset again when it stands"
        measured = self.controller is not None and self.controller.restarted
        place = "" if measured else self._distance_problem() or self._place_problem()
        problem = self._inputs_problem(now_ns) or place or self._policy_problem(now_ns)
        if problem:
            return problem
        self._start_at_rest(measured)
        self._resting_since_ns = self._stamp_ns
        self._forget_troubles()
        self._raise_epoch(now_ns)
        self._rung = climb(self._rung, Event.RESET, ladder.WAITING)
        return None

    def clock_jumped(self, now_ns: int) -> None:
        """ROS time jumped against the clock: what was stamped before means nothing now. Brakes on the path, waits for a new chunk."""
        self._measured.restamp(now_ns)
        if self._heartbeat_ns is not None:
            self._heartbeat_ns = now_ns
        self._raise_epoch(now_ns)
        if self.controller is not None and self._window is not None and self._rung.state != State.INACTIVE:
            self.controller.lost_step()  # it reads the stamps of the last window by the clock that jumped
            self.request_stop(ladder.CLOCK_JUMPED, now_ns)
        else:
            self.request_hold(ladder.CLOCK_JUMPED, now_ns)

    # The tick

    def tick(self, now_ns: int) -> TickOutput:
        """One command.

        A late tick makes up whole periods up to three; after a longer gap the plan is shifted and goes on with one period.
        """
        self._counters["ticks"] += 1
        if self._rung.state == State.INACTIVE:
            return self._echo(now_ns)
        self._watch(now_ns)
        if self._window is not None:
            self._keep_to_window(self._window, now_ns)
        periods = self._periods_due(now_ns)
        for left in range(periods - 1, -1, -1):
            self._advance()
            if self._window is not None:
                self._window.promise(self._stamp_ns - left * self._period_ns, self._motion.joints)
        if periods:
            self._settle(now_ns)
        return self._output(now_ns, repeated=periods == 0)

    @property
    def measured_openings_m(self) -> Mapping[str, float]:
        """Arm -> measured gripper opening, of the arms whose fingers have been heard of."""
        return self._measured.openings_m

    @property
    def motion(self) -> Motion:
        """The motion behind the commands, to look at."""
        return self._motion

    @property
    def status(self) -> Status:
        holding = self._rung.state == State.HOLD
        return Status(
            state=str(self._rung.state),
            reason=self._rung.reason,
            hold_since_ns=self._resting_since_ns if holding else None,
            epoch=self._epoch,
            epoch_stamp_ns=self._epoch_stamp_ns,
            instruction=self._instruction,
            initialised_from=self._initialised_from,
            accepted_sequence=self._accepted_sequence,
            judged_stamp_ns=self._judged_stamp_ns,
            rejected=self._rejected,
            rejected_reason=self._rejected_reason,
        )

    def _periods_due(self, now_ns: int) -> int:
        """Periods to integrate; moves the stamp. A quarter of a period early still counts as on time."""
        due = (now_ns + self._lead_ns - self._stamp_ns + self._period_ns // 4) // self._period_ns
        if due <= 0:
            return 0
        self._stamp_ns += due * self._period_ns
        if due > 1:
            self._counters["late_ticks"] += 1
        if due > self._made_up_periods:
            self._counters["retimed_ticks"] += 1
            return 1
        return due

    def _keep_to_window(self, window: RollingWindow, now_ns: int) -> None:
        """Where the controller goes on by itself after a stall of ours, go on from there; a stop takes back what can be taken back."""
        begins, self._stopping = self._rung.state == State.STOP and not self._stopping, self._rung.state == State.STOP
        kept = window.overtaken(now_ns)
        if kept is not None:
            self._counters["retimed_ticks"] += 1
            if kept.moving:
                self.request_stop(ladder.COMMANDS_LATE, now_ns)
        elif begins:
            kept = window.revoked(now_ns)
        if kept is not None:
            self._stamp_ns = kept.stamp_ns
            if kept.moving:
                self._motion.rejoin(kept.state)

    def _advance(self) -> None:
        if self._rung.state in (State.STOP, State.LATCHED):
            failure = self._motion.stop_tick()
        else:
            failure = self._motion.follow_tick(running=self._rung.state == State.RUN)
        if failure is not None:
            self._counters["guard_failures"] += 1
            self.request_stop(f"guard_{failure}", self._stamp_ns)

    def _settle(self, now_ns: int) -> None:
        """Rungs that follow from where the motion has got to."""
        if self._rung.state == State.RUN and self._motion.plan_ended:
            self._rung = climb(self._rung, Event.HOLD, ladder.PLAN_ENDED)
        if self._rung.state == State.RUN or not self._motion.resting:
            self._resting_since_ns = None
            self._watch_braking()
            return
        self._braking_since_ns = None
        if self._resting_since_ns is None:
            self._resting_since_ns = self._stamp_ns
        if not self._stands(now_ns):
            return
        if self._rung.state == State.STOP:
            self._rung = climb(self._rung, Event.STOPPED)
        if self._rung.reason in ladder.LATCHING_REASONS:
            self._rung = climb(self._rung, Event.LATCH)
        if self._deactivating:
            self._deactivating = False
            self._rung = climb(self._rung, Event.DEACTIVATED)

    def _stands(self, now_ns: int) -> bool:
        """The arm is where the commands rest. A trajectory controller gets there later than they: before, nothing may start anew."""
        if self._resting_since_ns is None:
            return False
        ahead = self._window is not None and self.controller is not None and self.controller.obeys
        return not ahead or now_ns >= self._resting_since_ns

    def _watch_braking(self) -> None:
        """A hold that does not come to rest is a fault of ours: stop instead."""
        if self._rung.state != State.HOLD:
            self._braking_since_ns = None
        elif self._braking_since_ns is None:
            self._braking_since_ns = self._stamp_ns
        elif self._stamp_ns - self._braking_since_ns > _HOLD_TIMEOUT_S * 1e9:
            self.request_stop("hold_without_rest", self._stamp_ns)

    # Watches

    def _watch(self, now_ns: int) -> None:
        budgets = self._robot.budgets
        if now_ns + self._lead_ns - self._stamp_ns > MAX_MADE_UP_PERIODS * self._period_ns and not self._excused:
            self._deaf_until_ns, self._excused = now_ns + CATCH_UP_NS, True
        listening = now_ns >= self._deaf_until_ns
        if listening and self._measured.age_s(now_ns) > budgets.joint_state_age_s:
            self.request_stop("joint_states_lost", now_ns)
        silent = self._operator.silent(now_ns) if listening else ""
        if silent:
            self.request_stop(silent, now_ns)
        if listening and self._heartbeat_ns is not None and (now_ns - self._heartbeat_ns) * 1e-9 > budgets.heartbeat_age_s:
            self.request_hold(ladder.POLICY_LOST, now_ns)
        commanded_rad = self._commanded_rad(now_ns)
        trouble = self.controller.trouble(commanded_rad, now_ns) if self.controller is not None and listening else ""
        if trouble:
            self.request_stop(trouble, now_ns)
        motion, distance_rad = self._motion, self._distance_rad(commanded_rad)
        for event, reason in self._shortfalls.judged(distance_rad, motion.ik_error_m, motion.lag_rad, now_ns):
            self._rung = climb(self._rung, event, reason)

    def _obey_operator(self, now_ns: int) -> None:
        reason = self._operator.said()
        if reason:
            self.request_stop(reason, now_ns)

    def _commanded_rad(self, now_ns: int) -> Array:
        """The command that is meant for now, not ahead of it."""
        return self._motion.joints.position if self._window is None else self._window.commanded(now_ns).position

    def _distance_rad(self, commanded_rad: Array) -> float:
        return float(max(np.abs(commanded_rad - self._measured.joints_rad).tolist()))

    def _inputs_problem(self, now_ns: int) -> str:
        """What joints, switches and controller say against a start."""
        controller = "" if self.controller is None else self.controller.problem(self._last_command_rad(), now_ns)
        return self._measured.problem(now_ns) or self._operator.problem(now_ns) or controller

    def _distance_problem(self) -> str:
        budget, distance = self._robot.budgets.tracking_error_rad, self._distance_rad(self._last_command_rad())
        if distance <= budget:
            return ""
        return (
            f"expected measured joints within {budget:g} rad of the last command, got {distance:.3f} rad; "
            "deactivate and activate to start from the measured pose"
        )

    def _place_problem(self) -> str:
        """A trajectory controller may have come to rest in a window before the last: it says where."""
        if self._window is None or self._controller_rad() is not None:
            return ""
        return "expected the controller to say where it stands, it has not since it came to rest; try again"

    def _controller_rad(self) -> Array | None:
        """Where a trajectory controller stands; None where there is none, or it has not said so since it came to rest."""
        if self._window is None or self.controller is None:
            return None
        return self.controller.place_since(self._resting_since_ns or 0)

    def _last_command_rad(self) -> Array:
        """Where the commands rest; the end of the window that a trajectory controller was in when it was left alone."""
        last_rad, place_rad = self._motion.joints.position, self._controller_rad()
        return last_rad if self._window is None or place_rad is None else self._window.rest_nearest(place_rad, last_rad)

    def _policy_problem(self, now_ns: int) -> str:
        if self._heartbeat_ns is None or (now_ns - self._heartbeat_ns) * 1e-9 <= self._robot.budgets.heartbeat_age_s:
            return ""
        age_s = (now_ns - self._heartbeat_ns) * 1e-9
        return f"expected a living policy, its last heartbeat is {age_s:.1f} s old; start the policy and reset again"

    def _start_at_rest(self, measured: bool) -> None:
        """Stand where the arm was measured, or where it was commanded last."""
        last_rad = self._last_command_rad()
        if measured:
            self._motion.start(self._measured.joints_rad, self._measured.openings_m)
        elif last_rad is not self._motion.joints.position:
            self._motion.start(last_rad, self._motion.openings())
        else:
            self._motion.hold_here()
        self._initialised_from = "measured" if measured else "command"
        if self.controller is not None:
            self.controller.started()
        if self._window is not None:
            self._window.restart(self._stamp_ns, self._motion.joints)

    def _forget_troubles(self) -> None:
        self._braking_since_ns = None
        self._shortfalls.forget()

    # Chunks and epochs

    def _refusal(self) -> str | None:
        if self._rung.state in (State.INACTIVE, State.STOP, State.LATCHED):
            return str(self._rung.state).lower()
        if self._rung.state == State.HOLD and self._rung.reason not in ladder.PASSING_REASONS:
            return "hold"
        return None

    def _situation(self, now_ns: int) -> Situation:
        return Situation(
            now_ns=now_ns,
            epoch=self._epoch,
            epoch_stamp_ns=self._epoch_stamp_ns,
            last_sequence=self._accepted_sequence,
            resting_since_ns=self._resting_since_ns,
            commanded=self._motion.poses(),
            lead_ns=self._lead_ns,
        )

    def _raise_epoch(self, now_ns: int) -> None:
        self._epoch += 1
        self._epoch_stamp_ns = now_ns
        self._accepted_sequence = None
        self._motion.forget_chunks()

    # Outputs

    def _echo(self, now_ns: int) -> TickOutput:
        self._stamp_ns = now_ns
        if not self._measured.complete or self._measured.broken:
            return TickOutput(None, self._motion.poses_at, self.status, self._all_counters())
        joints = self._measured.joints_rad
        zero = np.zeros_like(joints)
        command = JointCommand(now_ns, joints.copy(), zero, zero, dict(self._measured.openings_m))
        return TickOutput(command, self._motion.poses_at, self.status, self._all_counters())

    def _output(self, now_ns: int, repeated: bool) -> TickOutput:
        joints = self._motion.joints
        command = JointCommand(self._stamp_ns, joints.position, joints.velocity, joints.acceleration, self._motion.openings())
        heard = self.controller is None or self.controller.obeys
        window = None
        if self._window is not None and heard:
            window = self._window.next_window(now_ns, self._motion.way_to_rest)
        elif self._window is not None:
            self._window.silence()
        return TickOutput(command, self._motion.poses_at, self.status, self._all_counters(), repeated, heard, window)

    def _all_counters(self) -> dict[str, int]:
        return {
            **self._counters,
            "limit_hits": self._motion.limit_hits,
            "workspace_hits": self._motion.workspace_hits,
            "ignored_joint_states": self._measured.ignored,
        }
