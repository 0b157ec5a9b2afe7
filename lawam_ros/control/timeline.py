"""A chunk as a plan on time: where every arm's TCP should be at each instant, and what its gripper should do."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import Arm
from lawam_ros.contract.rotations import quat_inverse, quat_make_continuous, quat_multiply, quat_slerp, rotvec_from_quat
from lawam_ros.control import scalar_rotations as rot
from lawam_ros.control import so3
from lawam_ros.control.pace import Pace, PaceCurve, curve_of, grid
from lawam_ros.control.splice import Seam, seam_rates, shortest_seams
from lawam_ros.control.spline import CubicSpline

Array = NDArray[np.float64]

TCP_DECELERATION_M_S2 = 0.8
TCP_ANGULAR_DECELERATION_RAD_S2 = 3.0
SEAM_ACCELERATION_M_S2 = 1.0
SEAM_ANGULAR_ACCELERATION_RAD_S2 = 4.0
_MAX_KNOT_ANGLE_RAD = 0.5
_REASON = 2.0
_ACCELERATION_BOUND_M_S2, _ANGULAR_ACCELERATION_BOUND_RAD_S2 = 13.0, 25.0


class TcpState(NamedTuple):
    """Pose of a TCP target with its derivatives in the arm's base frame: m, m/s, m/s2, unit quaternion, rad/s, rad/s2; plain numbers.

    A tuple with names, because two are made per arm and tick.
    """

    position_m: rot.Vector
    quat_xyzw: rot.Quat
    velocity_m_s: rot.Vector
    angular_velocity_rad_s: rot.Vector
    acceleration_m_s2: rot.Vector
    angular_acceleration_rad_s2: rot.Vector


def at_rest(position_m: rot.Vector, quat_xyzw: rot.Quat) -> TcpState:
    zero = (0.0, 0.0, 0.0)
    return TcpState(position_m, quat_xyzw, zero, zero, zero, zero)


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
        quats = quat_make_continuous(quats_xyzw)
        if _turns_little(quats):
            # One system of equations for both.
            both = CubicSpline.through(times_s, np.concatenate([positions_m, quats], axis=1))
            self._positions, self._rotations = both.columns(0, 3), both.columns(3, 7)
        else:
            self._positions = CubicSpline.through(times_s, positions_m)
            self._rotations = CubicSpline.through(*_divided_rotations(times_s, quats))

    @property
    def start_s(self) -> float:
        return self._opening_times[0]

    def state(self, time_s: float) -> TcpState:
        (x, y, z), (vx, vy, vz), (ax, ay, az) = self._positions.sample(time_s)
        quat, angular, angular_acceleration = _on_sphere(*self._rotations.sample(time_s))
        return TcpState((x, y, z), quat, (vx, vy, vz), angular, (ax, ay, az), angular_acceleration)

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


def _turns_little(quats_xyzw: Array) -> bool:
    """Whether no step needs dividing. Quaternions of neighbouring signs: their dot product is the cosine of half the angle."""
    cosines = (quats_xyzw[1:] * quats_xyzw[:-1]).sum(axis=-1)
    return bool((cosines >= math.cos(0.5 * _MAX_KNOT_ANGLE_RAD)).all())


def _divided_rotations(times_s: Array, quats_xyzw: Array) -> tuple[Array, Array]:
    angles = np.linalg.norm(rotvec_from_quat(quat_multiply(quats_xyzw[1:], quat_inverse(quats_xyzw[:-1]))), axis=-1)
    times, knots = [float(times_s[0])], [np.asarray(quats_xyzw[0], dtype=float)]
    for i in range(1, len(times_s)):
        a, b = quats_xyzw[i - 1], quats_xyzw[i]
        parts = max(1, int(np.ceil(angles[i - 1] / _MAX_KNOT_ANGLE_RAD)))
        for part in range(1, parts):
            times.append(float(times_s[i - 1] + (times_s[i] - times_s[i - 1]) * part / parts))
            knots.append(quat_slerp(a, b, part / parts))
        times.append(float(times_s[i]))
        knots.append(np.asarray(b, dtype=float))
    return np.array(times), quat_make_continuous(np.array(knots))


def _on_sphere(raw: list[float], rate: list[float], curvature: list[float]) -> tuple[rot.Quat, rot.Vector, rot.Vector]:
    """Unit quaternion, angular velocity and acceleration (fixed axes) of a quaternion-valued curve that is not normalised.

    With q' q^-1 = (s, w / 2), where s is the growth of the length: w' = 2 vec(q'' q^-1) - 2 s w.
    """
    norm2 = raw[0] ** 2 + raw[1] ** 2 + raw[2] ** 2 + raw[3] ** 2
    back = rot.conjugate(raw)
    wx, wy, wz, growth = rot.multiply(rate, back)
    ax, ay, az, _ = rot.multiply(curvature, back)
    twice, double_growth = 2.0 / norm2, 2.0 * growth / norm2
    wx, wy, wz = twice * wx, twice * wy, twice * wz
    acceleration = (twice * ax - double_growth * wx, twice * ay - double_growth * wy, twice * az - double_growth * wz)
    return rot.normalise(raw), (wx, wy, wz), acceleration


@dataclass(frozen=True)
class Plan:
    """What all arms do from plan time 0 (the release of the chunk) to ``end_s``; one time base for all arms."""

    tracks: dict[str, ArmTrack]
    position_seams: dict[str, Seam]
    rotation_seams: dict[str, Seam]
    curve: PaceCurve
    sequence: int
    start_rate: float = 1.0

    @property
    def end_s(self) -> float:
        return self.curve.end_s

    def start(self) -> Pace:
        seams = [*self.position_seams.values(), *self.rotation_seams.values()]
        return Pace(self.curve, max(seam.start_s + seam.duration_s for seam in seams), self.start_rate)

    def state(self, arm: str, pace: Pace) -> TcpState:
        """Target of one arm at a pace; derivatives are per second of real time."""
        track = _at_pace(self.tracks[arm].state(pace.time_s), pace.rate, pace.rate_per_s)
        offset, turn = self.position_seams[arm].sample(pace.seam_time_s), self.rotation_seams[arm].sample(pace.seam_time_s)
        if offset is None and turn is None:
            return track
        position, quat, velocity, angular, acceleration, angular_acceleration = track
        seam_rate = pace.seam_rate
        if offset is not None:
            position, velocity = _plus(position, offset[0], 1.0), _plus(velocity, offset[1], seam_rate)
            acceleration = _plus(acceleration, _timed(offset[1], offset[2], seam_rate, pace.seam_rate_per_s), 1.0)
        if turn is not None:
            turn_quat = rot.from_rotvec(turn[0])
            turning, curving = _scaled(turn[1], seam_rate), _timed(turn[1], turn[2], seam_rate, pace.seam_rate_per_s)
            spin, carried = so3.angular_velocity(turn[0], turning), rot.rotate(turn_quat, angular)
            quat, angular = rot.normalise(rot.multiply(turn_quat, quat)), _plus(carried, spin, 1.0)
            carried_acceleration = _plus(rot.rotate(turn_quat, angular_acceleration), so3.cross(spin, carried), 1.0)
            angular_acceleration = _plus(carried_acceleration, so3.angular_acceleration(turn[0], turning, curving), 1.0)
        return TcpState(position, quat, velocity, angular, acceleration, angular_acceleration)


def _at_pace(state: TcpState, rate: float, rate_per_s: float) -> TcpState:
    """A state of a course that is run through at ``rate``, which changes by ``rate_per_s``."""
    if rate == 1.0 and rate_per_s == 0.0:
        return state
    return state._replace(
        velocity_m_s=_scaled(state.velocity_m_s, rate),
        angular_velocity_rad_s=_scaled(state.angular_velocity_rad_s, rate),
        acceleration_m_s2=_timed(state.velocity_m_s, state.acceleration_m_s2, rate, rate_per_s),
        angular_acceleration_rad_s2=_timed(state.angular_velocity_rad_s, state.angular_acceleration_rad_s2, rate, rate_per_s),
    )


def _scaled(a: Sequence[float], factor: float) -> rot.Vector:
    return (a[0] * factor, a[1] * factor, a[2] * factor)


def _plus(a: Sequence[float], b: Sequence[float], factor: float) -> rot.Vector:
    """a + factor * b."""
    return (a[0] + b[0] * factor, a[1] + b[1] * factor, a[2] + b[2] * factor)


def _timed(velocity: Sequence[float], acceleration: Sequence[float], rate: float, rate_per_s: float) -> rot.Vector:
    """Acceleration of a course that is run through at ``rate``, which changes by ``rate_per_s``."""
    square = rate * rate
    return (
        acceleration[0] * square + velocity[0] * rate_per_s,
        acceleration[1] * square + velocity[1] * rate_per_s,
        acceleration[2] * square + velocity[2] * rate_per_s,
    )


def tracks_of(chunk: ActionChunk, arms: tuple[Arm, ...], values: Mapping[str, Array], origin_s: float) -> dict[str, ArmTrack]:
    """Tracks per arm. values: arm -> (N, 8) x y z qx qy qz qw gripper; origin_s: plan time 0, seconds after the chunk's stamp."""
    times = np.asarray(chunk.time_from_start_s, dtype=float) - origin_s
    return {arm.name: _track(times, values[arm.name]) for arm in arms}


def _track(times_s: Array, table: Array) -> ArmTrack:
    quats = table[:, 3:7] / np.linalg.norm(table[:, 3:7], axis=-1, keepdims=True)
    return ArmTrack(times_s, table[:, :3], quats, table[:, 7])


def splice(tracks: dict[str, ArmTrack], arms: tuple[Arm, ...], now: Mapping[str, TcpState], end_s: float, sequence: int) -> Plan:
    """Plan that takes over at plan time 0 from the targets ``now``: pose, velocity and acceleration go on continuously, rotations too."""
    count, names, times = len(arms), [arm.name for arm in arms], grid(end_s)
    starts = [tracks[name].state(0.0) for name in names]
    rate = min(1.0, *(_allowed_rate(start, arm) for start, arm in zip(starts, arms, strict=True)))
    pairs = [(_within_reason(now[arm.name], arm), _at_pace(start, rate, 0.0)) for start, arm in zip(starts, arms, strict=True)]
    lacking = [_shift_between(*pair) for pair in pairs] + [_turn_between(*pair) for pair in pairs]
    offsets, offset_rates, curvatures = np.array(lacking).swapaxes(0, 1)
    speed_limits = [arm.tcp_velocity_m_s for arm in arms] + [arm.tcp_angular_velocity_rad_s for arm in arms]
    accelerations = [SEAM_ACCELERATION_M_S2] * count + [SEAM_ANGULAR_ACCELERATION_RAD_S2] * count
    seams = shortest_seams(0.0, offsets, offset_rates, curvatures, list(zip(speed_limits, accelerations, strict=True)))
    own = [tracks[name].velocities(times) for name in names]
    rates = seam_rates(seams, times)
    linear = np.linalg.norm(np.array([velocity for velocity, _ in own]) + rates[:count], axis=-1)
    angular = np.array([speed for _, speed in own]) + np.linalg.norm(rates[count:], axis=-1)
    decelerations = np.repeat([TCP_DECELERATION_M_S2, TCP_ANGULAR_DECELERATION_RAD_S2], count)
    curve = curve_of(times, np.concatenate([linear, angular]), np.array(speed_limits), decelerations)
    position_seams, rotation_seams = (dict(zip(names, some, strict=True)) for some in (seams[:count], seams[count:]))
    return Plan(tracks, position_seams, rotation_seams, curve, sequence, rate)


def _allowed_rate(start: TcpState, arm: Arm) -> float:
    """Rate at which a track that is too fast at its beginning keeps the arm's Cartesian speeds."""
    linear, angular = math.hypot(*start.velocity_m_s), math.hypot(*start.angular_velocity_rad_s)
    return 1.0 / max(linear / arm.tcp_velocity_m_s, angular / arm.tcp_angular_velocity_rad_s, 1.0)


def _within_reason(here: TcpState, arm: Arm) -> TcpState:
    """A target without derivatives that no arm has: seam after seam they would feed on each other."""
    return here._replace(
        velocity_m_s=_bounded(here.velocity_m_s, _REASON * arm.tcp_velocity_m_s),
        angular_velocity_rad_s=_bounded(here.angular_velocity_rad_s, _REASON * arm.tcp_angular_velocity_rad_s),
        acceleration_m_s2=_bounded(here.acceleration_m_s2, _ACCELERATION_BOUND_M_S2),
        angular_acceleration_rad_s2=_bounded(here.angular_acceleration_rad_s2, _ANGULAR_ACCELERATION_BOUND_RAD_S2),
    )


def _bounded(vector: rot.Vector, limit: float) -> rot.Vector:
    size = math.hypot(*vector)
    return vector if size <= limit else _scaled(vector, limit / size)


def _shift_between(here: TcpState, start: TcpState) -> tuple[rot.Vector, rot.Vector, rot.Vector]:
    """Way from ``start`` to ``here`` with its first two derivatives."""
    return (
        _plus(here.position_m, start.position_m, -1.0),
        _plus(here.velocity_m_s, start.velocity_m_s, -1.0),
        _plus(here.acceleration_m_s2, start.acceleration_m_s2, -1.0),
    )


def _turn_between(here: TcpState, start: TcpState) -> tuple[rot.Vector, rot.Vector, rot.Vector]:
    """Rotation vector from ``start`` to ``here`` with its first two derivatives: exp(turn) R_start = R_here."""
    turn = rot.difference(here.quat_xyzw, start.quat_xyzw)
    turn_quat = rot.from_rotvec(turn)
    carried = rot.rotate(turn_quat, start.angular_velocity_rad_s)
    spin = _plus(here.angular_velocity_rad_s, carried, -1.0)
    rate = so3.rotvec_rate(turn, spin)
    carried_acceleration = _plus(rot.rotate(turn_quat, start.angular_acceleration_rad_s2), so3.cross(spin, carried), 1.0)
    acceleration = _plus(here.angular_acceleration_rad_s2, carried_acceleration, -1.0)
    return turn, rate, so3.rotvec_curvature(turn, rate, acceleration)
