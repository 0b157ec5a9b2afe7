"""A chunk as a plan on time: where every arm's TCP should be at each instant, and what its gripper should do."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import Arm
from lawam_ros.contract.rotations import quat_make_continuous, quat_slerp
from lawam_ros.control import scalar_rotations as rot
from lawam_ros.control.pace import Pace, PaceCurve, SpeedProfile, curve_of, grid
from lawam_ros.control.splice import Seam, left_jacobian, shortest_seam
from lawam_ros.control.spline import CubicSpline

Array = NDArray[np.float64]

TCP_DECELERATION_M_S2 = 0.8
TCP_ANGULAR_DECELERATION_RAD_S2 = 3.0
SEAM_ACCELERATION_M_S2 = 1.0
SEAM_ANGULAR_ACCELERATION_RAD_S2 = 4.0
_MAX_KNOT_ANGLE_RAD = 0.5


@dataclass(frozen=True)
class TcpState:
    """Pose of a TCP target with its derivatives in the arm's base frame: m, m/s, m/s2, unit quaternion, rad/s."""

    position_m: Array
    quat_xyzw: rot.Quat
    velocity_m_s: Array
    angular_velocity_rad_s: Array
    acceleration_m_s2: Array


def at_rest(position_m: Array, quat_xyzw: rot.Quat) -> TcpState:
    zero = np.zeros(3)
    return TcpState(np.asarray(position_m, dtype=float), quat_xyzw, zero, zero, zero)


class ArmTrack:
    """One arm's share of a plan: positions and rotations by a C2 spline, the gripper held from point to point.

    Rotations: the quaternion's components are splined over waypoints at most 0.5 rad apart (longer steps are divided by slerp) and
    normalised, which stays on the sphere and has continuous angular velocity.
    """

    def __init__(self, times_s: Array, positions_m: Array, quats_xyzw: Array, openings_m: Array) -> None:
        self.first_position_m = positions_m[0].copy()
        self.first_quat_xyzw: rot.Quat = rot.normalise(quats_xyzw[0])
        self._opening_times: list[float] = times_s.tolist()
        self._openings: list[float] = openings_m.tolist()
        rotation_times, rotation_knots = _divided_rotations(times_s, quats_xyzw)
        self._positions = CubicSpline(times_s, positions_m)
        self._rotations = CubicSpline(rotation_times, rotation_knots)

    @property
    def start_s(self) -> float:
        return self._opening_times[0]

    def state(self, time_s: float) -> TcpState:
        position, velocity, acceleration = self._positions.sample(time_s)
        raw, raw_rate, _ = self._rotations.sample(time_s)
        quat, angular = _on_sphere(raw.tolist(), raw_rate.tolist())
        return TcpState(position, quat, velocity, angular, acceleration)

    def opening_m(self, time_s: float) -> float | None:
        """Opening of the newest point not later than ``time_s``; None before the first."""
        index = bisect_right(self._opening_times, time_s + 1e-9)
        return self._openings[index - 1] if index else None

    def velocities(self, times_s: Array) -> tuple[Array, Array]:
        """Velocity (M, 3) and angular speed (M,) at M times."""
        _, velocity = self._positions.sample_many(times_s)
        raw, rate = self._rotations.sample_many(times_s)
        norm2 = np.sum(raw * raw, axis=-1)
        across = rate - raw * (np.sum(raw * rate, axis=-1) / norm2)[:, None]
        return velocity, 2.0 * np.linalg.norm(across, axis=-1) / np.sqrt(norm2)


def _divided_rotations(times_s: Array, quats_xyzw: Array) -> tuple[Array, Array]:
    times, knots = [float(times_s[0])], [np.asarray(quats_xyzw[0], dtype=float)]
    for i in range(1, len(times_s)):
        a, b = quats_xyzw[i - 1], quats_xyzw[i]
        angle = float(np.linalg.norm(rot.difference(b, a)))
        parts = max(1, int(np.ceil(angle / _MAX_KNOT_ANGLE_RAD)))
        for part in range(1, parts):
            times.append(float(times_s[i - 1] + (times_s[i] - times_s[i - 1]) * part / parts))
            knots.append(quat_slerp(a, b, part / parts))
        times.append(float(times_s[i]))
        knots.append(np.asarray(b, dtype=float))
    return np.array(times), quat_make_continuous(np.array(knots))


def _on_sphere(raw: list[float], rate: list[float]) -> tuple[rot.Quat, Array]:
    """Unit quaternion and angular velocity (fixed axes) of a quaternion-valued curve that is not normalised."""
    norm2 = raw[0] ** 2 + raw[1] ** 2 + raw[2] ** 2 + raw[3] ** 2
    wx, wy, wz, _ = rot.multiply(rate, rot.conjugate(raw))
    return rot.normalise(raw), np.array([2.0 * wx / norm2, 2.0 * wy / norm2, 2.0 * wz / norm2])


@dataclass(frozen=True)
class Plan:
    """What all arms do from plan time 0 (the release of the chunk) to ``end_s``; one time base for all arms."""

    tracks: dict[str, ArmTrack]
    position_seams: dict[str, Seam]
    rotation_seams: dict[str, Seam]
    curve: PaceCurve
    sequence: int

    @property
    def end_s(self) -> float:
        return self.curve.end_s

    def start(self) -> Pace:
        seams = [*self.position_seams.values(), *self.rotation_seams.values()]
        return Pace(self.curve, max(seam.start_s + seam.duration_s for seam in seams))

    def state(self, arm: str, pace: Pace) -> TcpState:
        """Target of one arm at a pace; derivatives are per second of real time."""
        track, rate, seam_rate = self.tracks[arm].state(pace.time_s), pace.rate, pace.seam_rate
        position, velocity = track.position_m, track.velocity_m_s * rate
        acceleration = track.acceleration_m_s2 * rate * rate
        quat, angular = track.quat_xyzw, track.angular_velocity_rad_s * rate
        offset = self.position_seams[arm].sample(pace.seam_time_s)
        if offset is not None:
            position, velocity = position + offset[0], velocity + offset[1] * seam_rate
            acceleration = acceleration + offset[2] * seam_rate * seam_rate
        turn = self.rotation_seams[arm].sample(pace.seam_time_s)
        if turn is not None:
            turn_quat = rot.from_rotvec(turn[0].tolist())
            quat = rot.normalise(rot.multiply(turn_quat, quat))
            angular = left_jacobian(turn[0]) @ turn[1] * seam_rate + np.array(rot.rotate(turn_quat, angular.tolist()))
        return TcpState(position, quat, velocity, angular, acceleration)


def tracks_of(chunk: ActionChunk, arms: tuple[Arm, ...], values: Mapping[str, Array], origin_s: float) -> dict[str, ArmTrack]:
    """Tracks per arm. values: arm -> (N, 8) x y z qx qy qz qw gripper; origin_s: plan time 0, seconds after the chunk's stamp."""
    times = np.asarray(chunk.time_from_start_s, dtype=float) - origin_s
    return {arm.name: _track(times, values[arm.name]) for arm in arms}


def _track(times_s: Array, table: Array) -> ArmTrack:
    quats = table[:, 3:7] / np.linalg.norm(table[:, 3:7], axis=-1, keepdims=True)
    return ArmTrack(times_s, table[:, :3], quats, table[:, 7])


def splice(tracks: dict[str, ArmTrack], arms: tuple[Arm, ...], now: Mapping[str, TcpState], end_s: float, sequence: int) -> Plan:
    """Plan that takes over at plan time 0 from the targets ``now`` with continuous position, velocity and translational acceleration."""
    position_seams, rotation_seams = {}, {}
    times = grid(end_s)
    speeds = SpeedProfile(len(times))
    for arm in arms:
        start, track = tracks[arm.name].state(0.0), tracks[arm.name]
        here = now[arm.name]
        position_seams[arm.name] = shortest_seam(
            0.0,
            here.position_m - start.position_m,
            here.velocity_m_s - start.velocity_m_s,
            here.acceleration_m_s2 - start.acceleration_m_s2,
            arm.tcp_velocity_m_s,
            SEAM_ACCELERATION_M_S2,
        )
        turn = np.array(rot.difference(here.quat_xyzw, start.quat_xyzw))
        carried = np.array(rot.rotate(rot.from_rotvec(turn.tolist()), start.angular_velocity_rad_s.tolist()))
        turn_rate = np.linalg.solve(left_jacobian(turn), here.angular_velocity_rad_s - carried)
        rotation_seams[arm.name] = shortest_seam(
            0.0, turn, turn_rate, np.zeros(3), arm.tcp_angular_velocity_rad_s, SEAM_ANGULAR_ACCELERATION_RAD_S2
        )
        velocity, angular_speed = track.velocities(times)
        velocity = velocity + _rates(position_seams[arm.name], times)
        angular_speed = angular_speed + np.linalg.norm(_rates(rotation_seams[arm.name], times), axis=-1)
        speeds.add(np.linalg.norm(velocity, axis=-1), arm.tcp_velocity_m_s, TCP_DECELERATION_M_S2)
        speeds.add(angular_speed, arm.tcp_angular_velocity_rad_s, TCP_ANGULAR_DECELERATION_RAD_S2)
    return Plan(tracks, position_seams, rotation_seams, curve_of(end_s, speeds), sequence)


def _rates(seam: Seam, times_s: Array) -> Array:
    """First derivative (M, D) of a seam."""
    u = np.clip((times_s - seam.start_s) / seam.duration_s, 0.0, 1.0)
    basis = np.stack([i * u ** max(i - 1, 0) for i in range(6)], axis=-1)
    return basis @ seam.coefficients / seam.duration_s
