"""Ways to follow chunks that arrive one after the other, played on one recorded series: the executor's, and those it is compared with.

Those others get every advantage: latency alignment and the executor's own spline inside a chunk. They differ at the seams only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Pose
from lawam_ros.contract.robot import Arm
from lawam_ros.contract.rotations import quat_from_rotvec, quat_inverse, quat_multiply, quat_normalise, quat_slerp, rotvec_from_quat
from lawam_ros.control.merge import Merge, TimedTables, merge_named
from lawam_ros.control.rehearsal import Rehearsal, minimum_jerk
from lawam_ros.control.timeline import ArmTrack, TcpState

Array = NDArray[np.float64]

OTHERS = ("naive", "linear", "act_ensemble", "official_robotwin", "official_towel")
_MERGES = {"naive": "replace", "act_ensemble": "ensemble", "official_robotwin": "official_robotwin", "official_towel": "official_towel"}


@dataclass(frozen=True)
class RecordedChunk:
    """One arm's chunk: observed ``stamp_s`` after the start; times_s: (N,) after the stamp; values: (N, 8) x y z qx qy qz qw gripper."""

    stamp_s: float
    times_s: Array
    values: Array


@dataclass(frozen=True)
class Jump:
    """Difference of the courses before and after a seam, at the seam: norms in m, m/s, m/s2, rad, rad/s, rad/s2."""

    position_m: float
    velocity_m_s: float
    acceleration_m_s2: float
    angle_rad: float
    angular_velocity_rad_s: float
    angular_acceleration_rad_s2: float


@dataclass(frozen=True)
class Stream:
    """Poses at the ticks, (M, 3) and (M, 4), the jump at each seam, and how many chunks were refused."""

    positions_m: Array
    quats_xyzw: Array
    jumps: tuple[Jump, ...]
    refused: int = 0


def recorded_chunks(path: Path) -> list[RecordedChunk]:
    """Chunks of one arm from a file with the arrays stamps_s (K,), times_s (N,) and values (K, N, 8). Raises UserMistake for another."""
    try:
        with np.load(path) as arrays:
            stamps, times, values = (arrays[name].astype(float) for name in ("stamps_s", "times_s", "values"))
            values[..., 3:7] = quat_normalise(values[..., 3:7])
            return [RecordedChunk(stamp, times, table) for stamp, table in zip(stamps.tolist(), values, strict=True)]
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise UserMistake(f"{path}: expected an .npz file with stamps_s (K,), times_s (N,) and values (K, N, 8) ({error})") from error


def made_up_chunks(start: Pose, seconds: float, period_s: float, contract: Contract, seed: int) -> list[RecordedChunk]:
    """A policy's view of one task, as imperfect as policies are: smooth reaches of 0.1 m with turns, every chunk off by some millimetres.

    The error of a chunk is one draw (4 mm, 0.03 rad) that grows along the horizon, plus 0.1 mm from point to point.
    """
    rng, policy = np.random.default_rng(seed), contract.task.policy
    ways = rng.uniform([-0.02, -0.12, -0.1, -0.2, -0.2, -0.5], [0.1, 0.12, 0.1, 0.2, 0.2, 0.5], (64, 6))
    ways[0] = 0.0
    way_s = 1.5
    times = (np.arange(policy.steps) + policy.action_offset_steps) / policy.action_hz
    chunks = []
    for k in range(int(seconds / period_s)):
        at = k * period_s + times
        index = np.minimum((at / way_s).astype(int), len(ways) - 2)
        share = minimum_jerk(at / way_s - index)[:, None]
        place = ways[index] + share * (ways[index + 1] - ways[index])
        error = rng.normal(size=6) * [0.004, 0.004, 0.004, 0.03, 0.03, 0.03] * (0.5 + times / times[-1])[:, None]
        place = place + error * min(1.0, k / 2.0)
        place[:, :3] += rng.normal(size=(len(times), 3)) * 1e-4
        quats = quat_multiply(quat_from_rotvec(place[:, 3:]), np.broadcast_to(start.quat_xyzw, (len(times), 4)))
        values = np.concatenate([start.position_m + place[:, :3], quats, np.full((len(times), 1), 0.08)], axis=1)
        chunks.append(RecordedChunk(k * period_s, times, values))
    return chunks


def played_by_executor(contract: Contract, urdf_text: str, chunks: Sequence[RecordedChunk], delay_s: float, seconds: float) -> Stream:
    """The whole executor, inverse kinematics and limits included: poses that its joint commands stand for."""
    rehearsal = Rehearsal(contract, urdf_text)
    name, begin_ns, waiting = contract.robot.arms[0].name, rehearsal.now_ns, list(chunks)
    poses: list[Pose] = []
    jumps: list[Jump] = []
    for _ in range(round(seconds * 1e9 / rehearsal.period_ns)):
        now_s = (rehearsal.now_ns - begin_ns) * 1e-9
        while waiting and waiting[0].stamp_s + delay_s <= now_s + 1e-9:
            recorded = waiting.pop(0)
            before = rehearsal.executor.motion.targets()[name]
            reason = rehearsal.offer(rehearsal.chunk({name: recorded.values}, begin_ns + round(recorded.stamp_s * 1e9)))
            if reason is None:
                jumps.append(jump_between(before, rehearsal.executor.motion.plan_starts()[name]))
        poses.append(rehearsal.poses[name])
        rehearsal.step()
    positions, quats = np.array([p.position_m for p in poses]), np.array([p.quat_xyzw for p in poses])
    return Stream(positions, quats, tuple(jumps), rehearsal.executor.status.rejected)


def played_by(way: str, arm: Arm, chunks: Sequence[RecordedChunk], delay_s: float, times_s: Array) -> Stream:
    """One of OTHERS: at once from the old course to the new one, where the new one is at that time."""
    merge: Merge = merge_named(_MERGES.get(way, "replace"), [arm])
    make = _LinearCourse if way == "linear" else _spline_course
    courses = []
    for chunk in chunks:
        timed = TimedTables(round(chunk.stamp_s * 1e9), chunk.times_s, chunk.values[:, None])
        courses.append(make(chunk.times_s + chunk.stamp_s, merge.merged(timed)[:, 0]))
    arrivals = np.array([chunk.stamp_s + delay_s for chunk in chunks])
    active = np.maximum(np.searchsorted(arrivals, times_s + 1e-9, side="right") - 1, 0)
    states = [courses[index].state(t) for index, t in zip(active, times_s.tolist(), strict=True)]
    seams = [k for k in range(1, len(chunks)) if arrivals[k] <= times_s[-1]]
    jumps = tuple(jump_between(courses[k - 1].state(float(arrivals[k])), courses[k].state(float(arrivals[k]))) for k in seams)
    return Stream(np.array([s.position_m for s in states]), np.array([s.quat_xyzw for s in states]), jumps)


def jump_between(before: TcpState, after: TcpState) -> Jump:
    turn = rotvec_from_quat(quat_multiply(np.array(after.quat_xyzw), quat_inverse(np.array(before.quat_xyzw))))
    names = ("position_m", "velocity_m_s", "acceleration_m_s2", "angular_velocity_rad_s", "angular_acceleration_rad_s2")
    found = {name: float(np.linalg.norm(np.subtract(getattr(after, name), getattr(before, name)))) for name in names}
    return Jump(angle_rad=float(np.linalg.norm(turn)), **found)


def peak_jerks(stream: Stream, dt_s: float) -> tuple[float, float]:
    """Largest jerk (m/s3, rad/s3) of the poses as sent: third differences over the ticks."""
    linear = jerks(stream.positions_m, dt_s)
    turns = rotvec_from_quat(quat_multiply(stream.quats_xyzw[1:], quat_inverse(stream.quats_xyzw[:-1])))
    angular = np.linalg.norm(np.diff(turns, n=2, axis=0), axis=1) / dt_s**3
    return float(linear.max()), float(angular.max())


def jerks(positions_m: Array, dt_s: float) -> Array:
    """Norms (M - 3, ...) in m/s3 of courses (M, ..., 3) sampled every ``dt_s``: third differences."""
    return np.asarray(np.linalg.norm(np.diff(positions_m, n=3, axis=0), axis=-1) / dt_s**3)


def _spline_course(times_s: Array, values: Array) -> ArmTrack:
    return ArmTrack(times_s, values[:, :3], quat_normalise(values[:, 3:7]), values[:, 7])


class _LinearCourse:
    """Straight lines and slerp from point to point."""

    def __init__(self, times_s: Array, values: Array) -> None:
        self._times, self._values = times_s, values

    def state(self, time_s: float) -> TcpState:
        i = int(np.clip(np.searchsorted(self._times, time_s, side="right") - 1, 0, len(self._times) - 2))
        step = self._times[i + 1] - self._times[i]
        share = (time_s - self._times[i]) / step
        a, b = self._values[i], self._values[i + 1]
        spin = rotvec_from_quat(quat_multiply(b[3:7], quat_inverse(a[3:7]))) / step
        position, velocity = (a[:3] + share * (b[:3] - a[:3])).tolist(), ((b[:3] - a[:3]) / step).tolist()
        quat, zero = quat_slerp(a[3:7], b[3:7], share).tolist(), (0.0, 0.0, 0.0)
        return TcpState(tuple(position), tuple(quat), tuple(velocity), tuple(spin.tolist()), zero, zero)
