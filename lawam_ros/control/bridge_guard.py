"""Decides, cycle by cycle, what a robot behind a bridge is told: set-points that prove safe, a stop on the path without them.

WAITING for a first set-point at rest where the arms are; FOLLOWING; BRAKING to rest within the limits after a fault; LATCHED until reset.
A set-point that is not renewed is braked from the first cycle on: the robot itself holds the last command for ever, at whatever speed.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.bridge import FALL_PERCENT, Bridge
from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.robot import Robot
from lawam_ros.control.limiter import JointLimiter, JointState, stacked_limits
from lawam_ros.control.measured import FAR_OUTSIDE_RAD
from lawam_ros.control.robot_report import RobotReport

Array = NDArray[np.float64]

WAITING, FOLLOWING, BRAKING, LATCHED = "WAITING", "FOLLOWING", "BRAKING", "LATCHED"

_SPARE = 1.001
"""Set-points lie on their limits, up to rounding and to the slewed clock of their stamps."""

_STEP_SPARE_RAD = 2e-3
_AT_REST_RAD_S = 1e-3
_SENDS_REFUSED = 3


class BridgeGuard:
    """Times are int ns on the bridge's own steady clock. state, reason: what is so, and why."""

    def __init__(self, robot: Robot, bridge: Bridge) -> None:
        self._robot = robot
        self._bridge = bridge
        self._limits = stacked_limits([arm.limits for arm in robot.arms])
        self._limiter = JointLimiter(self._limits, 1.0 / bridge.rate_hz)
        self._report: RobotReport | None = None
        self._heard_ns: dict[str, int] = {}
        self._fresh: JointCommand | None = None
        self._taken_ns: int | None = None
        self._taken: JointCommand | None = None
        self._sent: JointCommand | None = None
        self._sent_ns = 0
        self._told_rad: Array | None = None
        self._refused_sends = 0
        self.state, self.reason = WAITING, "no_commands"
        self.dropped = 0
        self.dropped_reason = ""

    @property
    def following(self) -> bool:
        return self.state == FOLLOWING

    @property
    def reference_rad(self) -> Array | None:
        """Where the robot was told to be last, which it holds; before that where it was measured, None before it was."""
        if self._told_rad is None:
            return None if self._report is None else self._report.joints_rad
        return self._told_rad

    def obeys(self, now_ns: int) -> bool:
        """Whether a set-point that fits would be sent."""
        return self.state == FOLLOWING or (self.state == WAITING and not self.problem(now_ns))

    def hear(self, report: RobotReport, now_ns: int) -> None:
        """What the robot said last. A stamp that stands still or goes back is not news."""
        old = {} if self._report is None else self._report.stamps_ns
        for stream, stamp_ns in report.stamps_ns.items():
            if stream not in old or stamp_ns > old[stream]:
                self._heard_ns[stream] = now_ns
        held = {stream: max(stamp_ns, old.get(stream, stamp_ns)) for stream, stamp_ns in report.stamps_ns.items()}
        self._report = replace(report, stamps_ns=held)

    def take(self, command: JointCommand, age_s: float, now_ns: int) -> str:
        """A set-point that came in, ``age_s`` after its stamp. Empty when it will be sent, else the reason why it was dropped."""
        # One from the future is as wrong as an old one: clocks that differ say nothing about age.
        refusal = "stamp_age" if abs(age_s) > self._bridge.command_age_s else self._refusal(command, now_ns)
        if refusal:
            self.dropped += 1
            self.dropped_reason = refusal
        else:
            self._fresh = self._taken = command
            self._taken_ns = now_ns
        return refusal

    def cycle(self, now_ns: int) -> JointCommand | None:
        """What to send now, None for nothing."""
        if self._sent is not None and (now_ns - self._sent_ns) * 1e-9 > self._bridge.command_age_s and not self._limiter.standing:
            # Held up for so long that the robot stands at the last set-point: from there no way leads on at the old speed.
            self._limiter.reset(self._limiter.state.position)
            self.fault("call_hangs")
        self._climb(now_ns)
        fresh, self._fresh = self._fresh, None
        if self.state == WAITING and fresh is not None:
            self.state, self.reason = FOLLOWING, ""
        if self.state not in (FOLLOWING, BRAKING):
            return None
        if self.state == FOLLOWING and fresh is not None:
            return self._remember(fresh, now_ns)
        return self._braked(now_ns)

    def sent(self, accepted: bool) -> None:
        """Whether the robot took what the last cycle gave."""
        self._refused_sends = 0 if accepted else self._refused_sends + 1
        if self._refused_sends >= _SENDS_REFUSED:
            self.fault("robot_refuses")

    def fault(self, reason: str) -> None:
        """Stop for a reason found outside: brakes to rest, then latches."""
        if self.state == FOLLOWING:
            self.state, self.reason = BRAKING, reason
        elif self.state == WAITING:
            self.state, self.reason = LATCHED, reason

    def problem(self, now_ns: int) -> str:
        """Why motion must not start, in a sentence; empty when it may."""
        report, bridge = self._report, self._bridge
        if report is None:
            return "expected the robot's state, none came yet; check its connection"
        if report.trouble:
            return f"expected a robot that obeys, it reports {report.trouble}; clear the cause"
        silent = self._silent(now_ns)
        if silent:
            return f"expected every stream of the robot at least every {bridge.state_age_s:g} s, {silent} is silent or repeats itself"
        if not self._finite(report):
            return "expected finite measured joints and gripper openings, got others; check the robot"
        outside = self._outside(report.joints_rad, 0.0)
        if outside:
            return f"expected measured joints within their limits, {outside} is not; move the arm inside by hand"
        return self._battery_problem()

    def reset(self, now_ns: int) -> str:
        """Out of LATCHED. Empty when done, else why not."""
        if self.state in (FOLLOWING, BRAKING):
            return f"expected a robot at rest, the bridge is {self.state}"
        problem = self.problem(now_ns)
        if not problem:
            self._wait()
        elif self._report is not None:
            # A robot whose clock was set back would repeat itself for as long: its next message counts, whatever its stamp.
            self._report = replace(self._report, stamps_ns={})
        return problem

    def report_age_s(self, now_ns: int) -> float:
        """Age of the stream that has been silent for longest."""
        return max(((now_ns - heard_ns) * 1e-9 for heard_ns in self._heard_ns.values()), default=math.inf)

    def warning(self) -> str:
        """Low battery in words, before it stops the arms."""
        level = None if self._report is None else self._report.battery_percent
        if level is None or level >= self._bridge.battery_warn_percent:
            return ""
        return (
            f"battery at {level:.0f} %: below {self._bridge.battery_stop_percent:g} % motion ends, below {FALL_PERCENT:g} % the arms fall"
        )

    def _wait(self) -> None:
        """For a stream of commands that may have nothing to do with the last one."""
        self.state, self.reason = WAITING, "no_commands"
        self._refused_sends = 0
        self._fresh = self._taken = self._sent = self._taken_ns = None

    def _climb(self, now_ns: int) -> None:
        """From what is known now to the state that follows from it."""
        if self.state in (WAITING, LATCHED):
            return
        report = self._report
        if report is not None and report.trouble:
            self.state, self.reason = LATCHED, "robot_trouble"  # it listens no more, and what it does is its own
            return
        if self.state == FOLLOWING:
            reason = self._fault_now(now_ns)
            if reason:
                self.fault(reason)
            elif self._taken is not None and self._taken_ns is not None and now_ns - self._taken_ns > self._bridge.command_age_s * 1e9:
                if self._limiter.standing and not self._taken.velocities_rad_s.any():
                    self._wait()  # nobody moved and nobody wanted to: no fault
                else:
                    self.fault("commands_silent")
        if self.state == BRAKING and self._limiter.standing:
            self.state = LATCHED

    def _fault_now(self, now_ns: int) -> str:
        report = self._report
        if report is None or self._silent(now_ns):
            return "robot_silent"
        if not self._finite(report) or self._outside(report.joints_rad, FAR_OUTSIDE_RAD):
            return "joints_invalid"
        if self._battery_problem():
            return "battery_low"
        error_rad = float(np.abs(report.joints_rad - self._limiter.state.position).max())
        return "tracking_error" if error_rad > self._robot.budgets.tracking_error_rad else ""

    def _refusal(self, command: JointCommand, now_ns: int) -> str:
        """Why a set-point may not be sent; empty when it may."""
        if self.state in (BRAKING, LATCHED):
            return self.reason
        openings = [command.gripper_m.get(arm.name, math.nan) for arm in self._robot.arms]
        numbers = np.concatenate([command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2, openings])
        if not np.all(np.isfinite(numbers)):
            return "not_finite"
        if self._taken is not None and command.stamp_ns <= self._taken.stamp_ns:
            return "stamp_not_rising"
        if self._outside(command.positions_rad, 1e-6):
            return "position_limit"
        if np.any(np.abs(command.velocities_rad_s) > _SPARE * self._limits.velocity_rad_s):
            return "velocity_limit"
        if self._taken is not None and self._sent is not None and not self._leads_on(self._taken, command):
            return "acceleration_limit"
        if any(not -1e-6 <= opening <= arm.gripper.opening_max_m + 1e-6 for arm, opening in zip(self._robot.arms, openings, strict=True)):
            return "gripper_range"
        return self._start_refusal(command, now_ns) if self._sent is None else self._step_refusal(command, now_ns)

    def _leads_on(self, before: JointCommand, command: JointCommand) -> bool:
        """Whether a motion within the limits leads from one set-point to the next, by their own stamps."""
        dt_s = (command.stamp_ns - before.stamp_ns) * 1e-9
        change = np.abs(command.velocities_rad_s - before.velocities_rad_s)
        miss = np.abs(command.positions_rad - before.positions_rad - 0.5 * dt_s * (command.velocities_rad_s + before.velocities_rad_s))
        most = _SPARE * self._limits.acceleration_rad_s2
        return bool(np.all(change <= most * dt_s + 1e-6) and np.all(miss <= 0.25 * most * dt_s**2 + 1e-6))

    def _start_refusal(self, command: JointCommand, now_ns: int) -> str:
        problem = self.problem(now_ns)
        if problem:
            self.reason = problem
            return "robot_not_ready"
        if np.any(np.abs(command.velocities_rad_s) > _AT_REST_RAD_S):
            return "start_in_motion"
        assert self._report is not None
        if np.abs(command.positions_rad - self._report.joints_rad).max() > self._bridge.start_distance_rad:
            return "start_distance"
        return ""

    def _step_refusal(self, command: JointCommand, now_ns: int) -> str:
        """Against a set-point that the limits could not have led to since the last one that was sent."""
        elapsed_s = min((now_ns - self._sent_ns) * 1e-9, self._bridge.command_age_s) + 1.0 / self._bridge.rate_hz
        reach = self._limits.velocity_rad_s * elapsed_s + _STEP_SPARE_RAD
        return "step" if np.any(np.abs(command.positions_rad - self._limiter.state.position) > reach) else ""

    def _remember(self, command: JointCommand, now_ns: int) -> JointCommand:
        self._limiter.restore(JointState(command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2))
        self._sent, self._sent_ns, self._told_rad = command, now_ns, command.positions_rad
        return command

    def _braked(self, now_ns: int) -> JointCommand | None:
        """The next set-point of the shortest stop; None where the arms stand already."""
        if self._sent is None or self._limiter.standing:
            return None
        state = self._limiter.brake()
        self._sent_ns, self._told_rad = now_ns, state.position
        self._sent = replace(
            self._sent,
            stamp_ns=self._sent.stamp_ns,
            positions_rad=state.position,
            velocities_rad_s=state.velocity,
            accelerations_rad_s2=state.acceleration,
        )
        return self._sent

    def _silent(self, now_ns: int) -> str:
        """A stream that has said nothing new for too long; empty when none has."""
        late = [stream for stream, heard_ns in self._heard_ns.items() if (now_ns - heard_ns) * 1e-9 > self._bridge.state_age_s]
        return ", ".join(late) if self._heard_ns else "all of it"

    def _outside(self, joints_rad: Array, spare_rad: float) -> str:
        beyond = (joints_rad < self._limits.lower_rad - spare_rad) | (joints_rad > self._limits.upper_rad + spare_rad)
        return ", ".join(name for name, out in zip(self._robot.joint_names, beyond, strict=True) if out)

    def _finite(self, report: RobotReport) -> bool:
        openings = [report.openings_m.get(arm.name, math.nan) for arm in self._robot.arms]
        return bool(np.isfinite(report.joints_rad).all() and np.isfinite(openings).all())

    def _battery_problem(self) -> str:
        level = None if self._report is None else self._report.battery_percent
        if level is None or not 0.0 <= level <= 100.0:
            got = "none" if level is None else f"{level:g} %"
            return f"expected the battery's level, got {got}: below {FALL_PERCENT:g} % the arms fall, so nothing moves without knowing it"
        if level < self._bridge.battery_stop_percent:
            return f"battery at {level:.0f} %: support the arms and charge; below {FALL_PERCENT:g} % they fall"
        return ""
