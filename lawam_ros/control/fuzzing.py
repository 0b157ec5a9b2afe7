"""Random and adversarial treatment of the executor: chunks, delays, losses, stops and resets as no policy and no operator would dare.

Every command is judged by rules of their own (``run_judge``), not by the limiter's.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import ActionChunk, Pose
from lawam_ros.contract.robot import JointLimits
from lawam_ros.contract.rotations import quat_from_rotvec, quat_multiply
from lawam_ros.contract.task import MERGES
from lawam_ros.control.executor import ActivationRefused
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.control.rehearsal import Rehearsal, reach_and_return
from lawam_ros.control.run_judge import Verdict, judge_run

Array = NDArray[np.float64]
Rng = np.random.Generator

EPISODE_TICKS = 2000
_TICK_HZ = (50.0, 100.0, 250.0, 250.0, 500.0, 1000.0)
_FRACTIONS = (0.1, 0.3, 1.0, 1.0 / 0.3)
_NUMBERS = (math.nan, math.inf, -math.inf, 1e300, -1e12, 5e-324)


@dataclass
class FuzzResult:
    """verdict: of all commands. events: what was done to the executor and what it answered, by name."""

    ticks: int = 0
    non_finite_outputs: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    events: Counter[str] = field(default_factory=Counter)

    def add(self, other: "FuzzResult") -> None:
        self.ticks += other.ticks
        self.non_finite_outputs += other.non_finite_outputs
        self.verdict.add(other.verdict)
        self.events += other.events


def fuzz(contract: Contract, urdf_text: str, seed: int, ticks: int, progress: Callable[[int], object] = lambda ticks: None) -> FuzzResult:
    """Episodes of 2000 ticks, each with its own rate, share of the vendor's limits and merge strategy, all drawn from the seed."""
    result = FuzzResult()
    while result.ticks < ticks:
        rng = np.random.default_rng([seed, result.ticks])
        count = min(EPISODE_TICKS, ticks - result.ticks)
        result.add(_Episode(varied(contract, rng), urdf_text, rng).run(count))
        progress(count)
    return result


def varied(contract: Contract, rng: Rng) -> Contract:
    """Another rate, other shares of the limits and another merge strategy."""
    share = float(rng.choice(_FRACTIONS))
    arms = tuple(replace(arm, limits=_scaled(arm.limits, share)) for arm in contract.robot.arms)
    robot = replace(contract.robot, arms=arms, tick_hz=float(rng.choice(_TICK_HZ)))
    return replace(contract, robot=robot, task=replace(contract.task, merge=str(rng.choice(MERGES))))


def _scaled(limits: JointLimits, share: float) -> JointLimits:
    envelope = limits.envelope
    return replace(
        limits,
        velocity_rad_s=share * limits.velocity_rad_s,
        acceleration_rad_s2=share * limits.acceleration_rad_s2,
        jerk_rad_s3=share * limits.jerk_rad_s3,
        envelope=None if envelope is None else replace(envelope, share=share * envelope.share),
    )


class _Episode:
    """One executor from its activation on."""

    def __init__(self, contract: Contract, urdf_text: str, rng: Rng) -> None:
        self._rng = rng
        self._rehearsal = Rehearsal(contract, urdf_text)
        self._limits = stacked_limits([arm.limits for arm in contract.robot.arms])
        self._home = self._rehearsal.poses
        self._result = FuzzResult()
        self._commands: list[tuple[int, Array, Array, Array]] = []
        self._deaf_ticks = self._silent_ticks = self._next_chunk = 0
        self._waiting: list[tuple[int, ActionChunk]] = []
        self._last_chunk: ActionChunk | None = None
        self._tempo = float(rng.choice([5.0, 25.0, 100.0]))

    def run(self, ticks: int) -> FuzzResult:
        for tick in range(ticks):
            self._chunks(tick)
            if self._rng.random() < 0.01:
                self._interfere()
            if self._rng.random() < 0.05:
                self._recover()
            self._tick()
        self._judge()
        self._result.ticks = ticks
        self._result.events += Counter({"guard failure": self._rehearsal.output.counters["guard_failures"]})
        return self._result

    def _tick(self) -> None:
        rehearsal, rng = self._rehearsal, self._rng
        draw = rng.random()
        periods = 1 if draw < 0.98 else int(rng.integers(0, 3)) if draw < 0.995 else int(rng.integers(2, 200))
        rehearsal.now_ns += periods * rehearsal.period_ns + int(rng.normal() * 0.02 * rehearsal.period_ns)
        self._deaf_ticks = max(0, self._deaf_ticks - 1)
        self._silent_ticks = max(0, self._silent_ticks - 1)
        if not self._deaf_ticks:
            rehearsal.measure()
        if not self._silent_ticks and rng.random() < 0.5:
            rehearsal.executor.heartbeat(rehearsal.now_ns)
        output = rehearsal.tick()
        self._result.events[output.status.state] += 1
        command = output.command
        if command is None:
            return
        if output.status.state == "INACTIVE":
            self._judge()
            return
        numbers = [*command.gripper_m.values(), *(float(x) for pose in output.poses.values() for x in (*pose.position_m, *pose.quat_xyzw))]
        if not all(map(math.isfinite, numbers)):
            self._result.non_finite_outputs += 1
        self._commands.append((command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2))

    def _judge(self) -> None:
        """Judge the commands since the last start."""
        if self._commands:
            stamps, q, v, a = zip(*self._commands, strict=True)
            self._result.verdict.add(judge_run(np.array(stamps), np.array(q), np.array(v), np.array(a), self._limits))
        self._commands = []

    # Chunks

    def _chunks(self, tick: int) -> None:
        if tick >= self._next_chunk:
            self._next_chunk = tick + 1 + int(self._rng.exponential(self._tempo))
            chunk = self._chunk()
            delay = int(self._rng.exponential(0.1) / (self._rehearsal.period_ns * 1e-9)) if self._rng.random() < 0.7 else 0
            if self._rng.random() > 0.05:
                self._waiting.append((tick + delay, chunk))
            if self._rng.random() < 0.05:
                self._waiting.append((tick + 2 * delay, chunk))
        due = [chunk for when, chunk in self._waiting if when <= tick]
        self._waiting = [(when, chunk) for when, chunk in self._waiting if when > tick]
        for chunk in due:
            reason = self._rehearsal.offer(chunk)
            self._result.events["chunk taken" if reason is None else f"chunk refused: {reason}"] += 1

    def _chunk(self) -> ActionChunk:
        rng, rehearsal = self._rng, self._rehearsal
        kind = str(rng.choice(["reach", "reach", "walk", "far", "wild", "still", "reach_out", "spin", "numbers"]))
        self._result.events[f"chunk made: {kind}"] += 1
        policy = rehearsal.contract.task.policy
        n = int(rng.choice([1, 2, 8, policy.steps, policy.steps, 60]))
        stamp_ns = rehearsal.now_ns - int(rng.exponential(2e7)) + int(rng.random() < 0.05) * int(rng.normal() * 1e9)
        times = (rehearsal.now_ns * 1e-9) % 100.0 + (np.arange(n) + policy.action_offset_steps) / policy.action_hz
        tables = {name: self._table(kind, self._home[name], pose, times) for name, pose in rehearsal.poses.items()}
        if kind == "numbers":
            spoilt = tables[str(rng.choice(list(tables)))]
            spoilt[rng.integers(n), rng.integers(8)] = rng.choice(_NUMBERS)
        with np.errstate(all="ignore"):
            chunk = rehearsal.chunk(tables, stamp_ns)
        if rng.random() < 0.03:
            chunk = replace(chunk, epoch=chunk.epoch + int(rng.integers(-2, 3)), sequence=int(rng.integers(0, 1000)))
        return chunk

    def _table(self, kind: str, home: Pose, now: Pose, times_s: Array) -> Array:
        rng, n = self._rng, len(times_s)
        ways = reach_and_return(home, np.array([0.1, 0.25, -0.2]), np.array([0.2, 0.4, 1.0]), float(rng.choice([0.5, 1.0, 2.0])), times_s)
        ways[:, :3] += rng.normal(size=3) * 0.005
        if kind in ("reach", "numbers"):
            return ways
        makers: dict[str, Callable[[], Array]] = {
            "walk": lambda: np.cumsum(rng.normal(size=(n, 3)) * 0.02, axis=0),
            "far": lambda: np.outer(np.linspace(0.0, 1.0, n) ** 0.5, rng.normal(size=3) * 0.7),
            "wild": lambda: rng.normal(size=(n, 3)) * rng.choice([0.01, 0.1, 1.0]),
            "still": lambda: np.zeros((n, 3)),
            "reach_out": lambda: np.outer(np.linspace(0.0, 1.0, n), [1.0, *rng.normal(size=2) * 0.3]),
            "spin": lambda: rng.normal(size=(n, 3)) * 1e-3,
        }
        offsets = makers[kind]()
        turns = rng.normal(size=(n, 3)) * {"wild": 2.0, "walk": 0.05, "reach_out": 0.0, "far": 0.1, "still": 0.0, "spin": 0.0}[kind]
        if kind == "spin":
            turns += np.outer(np.linspace(0.0, 3.0 * math.pi, n), [0.0, 0.0, 1.0])
        offsets[0] *= rng.choice([0.0, 0.05, 1.0])
        turns[0] *= rng.choice([0.0, 0.1, 1.0])
        quats = quat_multiply(quat_from_rotvec(turns), np.broadcast_to(now.quat_xyzw, (n, 4))) * rng.choice([-1.0, 1.0], (n, 1))
        grippers = rng.choice([0.0, 0.08, 0.04, 5.0, -1.0], (n, 1))
        return np.concatenate([now.position_m + offsets, quats, grippers], axis=1)

    # Everything but chunks

    def _interfere(self) -> None:
        """One thing that an operator, a driver or a clock may do."""
        rng, rehearsal = self._rng, self._rehearsal
        executor, now_ns = rehearsal.executor, rehearsal.now_ns
        deeds: list[tuple[str, Callable[[], object]]] = [
            ("hold", lambda: executor.request_hold("fuzz", now_ns)),
            ("release", lambda: executor.release_hold("fuzz", now_ns)),
            ("stop", lambda: executor.request_stop("fuzz", now_ns)),
            ("reset", lambda: executor.reset(now_ns)),
            ("activate", self._activate),
            ("deactivate", lambda: executor.deactivate(now_ns)),
            ("instruction", lambda: executor.set_instruction(f"do {rng.integers(3)}", now_ns)),
            ("clock jump", lambda: executor.clock_jumped(now_ns)),
            ("joint states lost", lambda: setattr(self, "_deaf_ticks", int(rng.integers(1, 60)))),
            ("heartbeat lost", lambda: setattr(self, "_silent_ticks", int(rng.integers(1, 300)))),
            ("joint states moved", self._push),
            ("joint states spoilt", self._spoil),
        ]
        name, deed = deeds[int(rng.integers(len(deeds)))]
        self._result.events[name] += 1
        deed()

    def _recover(self) -> None:
        """Bring a stopped arm back, or most of the time nothing would be put to the test."""
        executor, now_ns = self._rehearsal.executor, self._rehearsal.now_ns
        if executor.status.state == "INACTIVE":
            self._activate()
        elif executor.status.state == "LATCHED":
            executor.reset(now_ns)
        else:
            executor.release_hold("fuzz", now_ns)

    def _activate(self) -> None:
        rehearsal = self._rehearsal
        try:
            rehearsal.executor.activate(rehearsal.now_ns)
            self._judge()
        except ActivationRefused:
            self._result.events["activation refused"] += 1

    def _push(self) -> None:
        """The robot is found elsewhere than commanded."""
        rehearsal, rng = self._rehearsal, self._rng
        pushed = rehearsal.joints_rad + rng.normal(size=len(rehearsal.joints_rad)) * rng.choice([0.01, 0.2])
        names = rehearsal.contract.robot.joint_names
        rehearsal.executor.measured(rehearsal.now_ns, dict(zip(names, pushed.tolist(), strict=True)))

    def _spoil(self) -> None:
        rehearsal, rng = self._rehearsal, self._rng
        names = rehearsal.contract.robot.joint_names
        spoilt = dict.fromkeys(names[: int(rng.integers(1, len(names) + 1))], float(rng.choice(_NUMBERS[:3])))
        rehearsal.executor.measured(rehearsal.now_ns, spoilt)
