"""Demonstrations: the scripted expert at work through the executor, moment by moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import ActionChunk, JointCommand, Pose
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.contract.rotations import quat_from_rotvec, quat_multiply, quat_slerp
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.sim.expert import Expert
from lawam_ros.sim.scenes import scene_of
from lawam_ros.sim.start_recipe import DONE_ALREADY, HOME, RECOVERY, STUCK, TAKEN_OVER, Start, draw_start
from lawam_ros.sim.stepped_loop import SteppedLoop
from lawam_ros.sim.stepped_streams import SteppedStreams
from lawam_ros.sim.success import Result
from lawam_ros.sim.world import World
from lawam_ros.sim.world_state import Snapshot, WorldState

Array = NDArray[np.float64]

_REPLAN_STEPS = 2
_JOINT_STATES_HZ = 125.0
_PULL_SPEED_M_S = 0.20
_PULL_EXTRA_S = 0.4
_SETTLE_BEFORE_S = 0.1


@dataclass(frozen=True)
class ArmMoment:
    """One arm at one instant, poses in its base frame: measured and commanded at the same time, and the opening wanted for the next step.

    ``commanded_gripper_m`` moves at the gripper's speed, ``wanted_gripper_m`` is where it goes (open or closed).
    """

    measured_tcp: Pose
    measured_gripper_m: float
    commanded_tcp: Pose
    commanded_gripper_m: float
    wanted_gripper_m: float


@dataclass(frozen=True)
class Moment:
    """One recorded instant: every arm by name, and what the cameras saw."""

    arms: Mapping[str, ArmMoment]
    snapshot: Snapshot


@dataclass(frozen=True)
class Demonstration:
    """A finished attempt. ``failure``: None, or why it must not be used. Limits are checked on every command, also unrecorded ones."""

    seed: int
    start: Start
    moments: list[Moment]
    commands: int
    limit_violations: int
    result: Result
    failure: str | None


class Driver(Protocol):
    """Somebody else at the wheel of a stepped loop: ``begin`` an episode, then ``period`` after period."""

    def begin(self, loop: SteppedLoop, streams: SteppedStreams) -> None: ...

    def period(self) -> None: ...


class Demonstrator:
    """Keeps one world; every ``demonstrate`` is independent of the ones before. driver: who works first where a policy is to, and
    policy_s: for how long, as ``draw_start`` takes it."""

    def __init__(self, contract: Contract, policy_s: tuple[float, float] | None = None) -> None:
        self._contract = contract
        self._policy_s = policy_s
        self.world = World(contract)
        self.driver: Driver | None = None

    def demonstrate(self, seed: int, noise: str = "none") -> Demonstration:
        """One attempt from this seed: world, start and motion depend on seed, noise level and contract alone."""
        start = draw_start(noise, seed, len(self._contract.robot.arms), self._policy_s)
        self.world.reset(seed)
        attempt = _Attempt(self._contract, self.world)
        attempt.prepare(start, self.driver)
        failure = DONE_ALREADY if start.kind == STUCK and attempt.done() else attempt.work()
        checker = attempt.checker
        if failure is None and checker.violations:
            failure = f"{checker.violations} of {checker.commands} commands broke a joint limit"
        return Demonstration(seed, start, attempt.moments, checker.commands, checker.violations, attempt.measure.result(), failure)


class _Attempt:
    """The state of one attempt."""

    def __init__(self, contract: Contract, world: World) -> None:
        self._contract = contract
        self._world = world
        self._step_s = 1.0 / contract.task.policy.action_hz
        self._loop = SteppedLoop(contract, world)
        self._expert = Expert(contract)
        self.measure = scene_of(contract).measure(world.parameters)
        self.moments: list[Moment] = []
        self.checker = LimitChecker(stacked_limits([arm.limits for arm in contract.robot.arms]))
        self._chunk: ActionChunk

    def prepare(self, start: Start, driver: Driver | None) -> None:
        """Everything before the first recorded frame."""
        if start.kind == HOME:
            return
        if start.kind in TAKEN_OVER:
            self._let_drive(driver, start.work_s)
            return
        if start.kind == RECOVERY:
            for step in range(round(start.work_s / self._step_s)):
                state = self._step(step)
                if self._expert.finished(state):
                    break
        self._pull(start)
        self._expert.reset()

    def done(self) -> bool:
        """Whether there is nothing left to do."""
        self.measure.update(self._world.state())
        return self.measure.result().success

    def work(self) -> str | None:
        """Record until the task is done and everything has settled. None, or what went wrong."""
        episode = self._contract.task.episode
        finished_steps, settle_steps = 0, round(episode.settle_s / self._step_s)
        for step in range(round(episode.timeout_s / self._step_s)):
            state = self._step(step, record=True)
            self.measure.update(state)
            finished_steps = finished_steps + 1 if self._expert.finished(state) else 0
            if finished_steps > settle_steps:
                return None if self.measure.result().success else "done, but it did not stay so"
            if not self._loop.state.startswith(("RUN", "HOLD")):
                return f"the executor went to {self._loop.state}"
        modes = ", ".join(mode.value for mode in self._expert.modes.values())
        return f"not done after {episode.timeout_s:g} s, in mode {modes or '?'}, executor {self._loop.state}"

    def _step(self, step: int, record: bool = False) -> WorldState:
        """One step of the action rate; returns the world at its beginning, when the expert looks every other time."""
        state = self._world.state()
        measured, snapshot = self._loop.measured(), self._world.snapshot()
        self._tick()
        loop, age = self._loop, step % _REPLAN_STEPS
        if age == 0:
            self._expert.look(state, loop.commanded)
            self._chunk = self._expert.chunk(loop.now_ns, loop.sequence, loop.epoch)
            loop.offer(self._chunk)
        if record:
            self.moments.append(Moment(self._arm_moments(*measured, self._chunk, age), snapshot))
        self._loop.advance()
        # Where a step is no whole number of ticks (12.5 at 250 and 20 Hz), it takes one more or less in turn.
        ticks_per_step = self._contract.robot.tick_hz * self._step_s
        self._run(round((step + 1) * ticks_per_step) - round(step * ticks_per_step) - 1)
        return state

    def _arm_moments(self, tcp: Mapping[str, Pose], openings_m: Mapping[str, float], chunk: ActionChunk, row: int) -> dict[str, ArmMoment]:
        grippers = {arm.name: chunk.components.index(f"{arm.name}/gripper") for arm in self._contract.robot.arms}
        commanded, command = self._loop.commanded, self._loop.command
        return {
            name: ArmMoment(tcp[name], openings_m[name], commanded[name], command.gripper_m[name], float(chunk.values[row, column]))
            for name, column in grippers.items()
        }

    def _run(self, ticks: int) -> None:
        for _ in range(ticks):
            self._tick()
            self._loop.advance()

    def _tick(self) -> None:
        self._loop.tick()
        self._check(self._loop.command)

    def _check(self, command: JointCommand) -> None:
        self.checker.add(command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2)

    def _let_drive(self, driver: Driver | None, seconds: float) -> None:
        if driver is None:
            raise ValueError("expected a driver for a start in which a policy works first, got none")
        streams = SteppedStreams(self._contract.robot, _JOINT_STATES_HZ, str)
        streams.begin(self._loop.now_ns)
        driver.begin(self._loop, streams)
        for _ in range(round(seconds * self._contract.robot.tick_hz)):
            driver.period()
            self._check(self._loop.command)

    def _pull(self, start: Start) -> None:
        """Carry the hands off along smooth straight lines and let everything come to rest."""
        self._tick()
        chunk = self._pull_chunk(start)
        self._loop.offer(chunk)
        self._loop.advance()
        self._run(round((float(chunk.time_from_start_s[-1]) + _SETTLE_BEFORE_S) * self._contract.robot.tick_hz))

    def _pull_chunk(self, start: Start) -> ActionChunk:
        arms, commanded, openings = self._contract.robot.arms, self._loop.commanded, self._loop.command.gripper_m
        pulls = {arm.name: pull for arm, pull in zip(arms, start.pulls, strict=True)}
        targets = self._expert.kept_clear(
            {name: commanded[name].position_m + pull.offset_m for name, pull in pulls.items()}, self._world.state()
        )
        distance = max(float(np.linalg.norm(target - commanded[name].position_m)) for name, target in targets.items())
        steps = int(np.ceil((1.9 * distance / _PULL_SPEED_M_S + _PULL_EXTRA_S) / self._step_s))
        rows = []
        for arm in arms:
            pull, opening, widest = pulls[arm.name], openings[arm.name], arm.gripper.opening_max_m
            if pull.flip_gripper:
                opening = 0.0 if opening > widest / 2 else widest
            rows.append(_smooth_rows(commanded[arm.name], targets[arm.name], pull.turn_rad, opening, steps))
        policy = self._contract.task.policy
        return ActionChunk(
            stamp_ns=self._loop.now_ns,
            frame_id=self._contract.robot.base_frame,
            components=tuple(f"{arm.name}/{component}" for arm in arms for component in CARTESIAN_COMPONENTS),
            values=np.concatenate(rows, axis=1),
            time_from_start_s=(np.arange(steps, dtype=float) + policy.action_offset_steps) * self._step_s,
            sequence=self._loop.sequence,
            epoch=self._loop.epoch,
            contract_crc=self._contract.crc,
        )


def _smooth_rows(tcp: Pose, target_m: Array, turn_rad: Array, opening_m: float, steps: int) -> Array:
    """Rows (steps, 8) from a pose to a place, turned on the way, with zero velocity and acceleration at both ends."""
    u = np.arange(1, steps + 1) / steps
    blend = u**3 * (10.0 - 15.0 * u + 6.0 * u**2)
    turned = quat_multiply(quat_from_rotvec(turn_rad), tcp.quat_xyzw)
    quats = quat_slerp(np.repeat(tcp.quat_xyzw[None], steps, axis=0), turned, blend)
    return np.column_stack([tcp.position_m + blend[:, None] * (target_m - tcp.position_m), quats, np.full(steps, opening_m)])
