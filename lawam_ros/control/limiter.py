"""The last thing that modifies a command: position, velocity, acceleration and jerk limits of every joint, each tick."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import JointLimits, VelocityEnvelope
from lawam_ros.control.brake_profile import brake_accelerations
from lawam_ros.control.follower import Follower

Array = NDArray[np.float64]

_CLOSE_RATE_PER_S = 40.0
_MATCH_RATE_PER_S = 100.0
_BRAKE_SHARE = 0.6


class JointState(NamedTuple):
    """Commanded positions (rad), velocities (rad/s) and accelerations (rad/s2) of all joints at one tick."""

    position: Array
    velocity: Array
    acceleration: Array


def stacked_limits(limits: Sequence[JointLimits]) -> JointLimits:
    """Limits of several arms as one vector."""
    names = ("lower_rad", "upper_rad", "velocity_rad_s", "acceleration_rad_s2", "jerk_rad_s3")
    vectors = {name: np.concatenate([getattr(one, name) for one in limits]) for name in names}
    return JointLimits(**vectors, envelope=_stacked_envelopes(limits))


def _stacked_envelopes(limits: Sequence[JointLimits]) -> VelocityEnvelope | None:
    if all(one.envelope is None for one in limits):
        return None
    envelopes = [one.envelope or _endless(len(one.lower_rad)) for one in limits]
    names = VelocityEnvelope.__dataclass_fields__
    return VelocityEnvelope(**{name: np.concatenate([getattr(one, name) for one in envelopes]) for name in names})


def _endless(n: int) -> VelocityEnvelope:
    infinite = np.full(n, np.inf)
    return VelocityEnvelope(-infinite, infinite, np.zeros(n), np.ones(n), np.ones(n))


STAMP_RESERVE = 2e-4
"""Share of the derivative limits kept back.

Stamps follow a slewed clock, so a tick of theirs may be shorter than a tick of ours by half of this.
"""


ENVELOPE_KEPT = 0.98
"""Share of the position-dependent velocity limits that is used: they are verified at the ticks, and hold in between as well."""


def with_reserve(limits: JointLimits) -> JointLimits:
    """Limits for a limiter whose output will be judged by its stamps."""
    keep, envelope = 1.0 - STAMP_RESERVE, limits.envelope
    return replace(
        limits,
        envelope=None if envelope is None else replace(envelope, share=ENVELOPE_KEPT * envelope.share),
        velocity_rad_s=keep * limits.velocity_rad_s,
        acceleration_rad_s2=keep * limits.acceleration_rad_s2,
        jerk_rad_s3=keep * limits.jerk_rad_s3,
    )


class JointLimiter:
    """Follows targets within the limits; every state it emits has a verified way to rest within the limits.

    The acceleration is linear within a tick (constant jerk), so the emitted samples are points of one smooth motion: velocities,
    accelerations and jerks keep their limits as reported, as differences over the tick and in between.
    Velocity: an acceleration is allowed only if unwinding it at the jerk limit ends below the velocity limit.
    Position, and velocity limits that depend on it: a state is allowed only if its shortest stop stays inside; otherwise the joint takes
    the next step of the stop that was verified one tick earlier.
    """

    def __init__(self, limits: JointLimits, dt_s: float, follower: Follower | None = None) -> None:
        """follower: who wishes the accelerations that are then limited; None for the limiter's own law."""
        self._follower = follower
        self.limits = limits
        self.dt_s = dt_s
        self.hits = 0
        self._jerk_step = limits.jerk_rad_s3 * dt_s
        self._jerk_step_dt = self._jerk_step * dt_s
        swing = limits.jerk_rad_s3 / limits.acceleration_rad_s2
        self._close = np.minimum(_CLOSE_RATE_PER_S, np.minimum(0.1 * swing, 0.15 / dt_s))
        self._match = np.minimum(_MATCH_RATE_PER_S, np.minimum(0.3 * swing, 0.4 / dt_s))
        self._brake = _BRAKE_SHARE * limits.acceleration_rad_s2
        self._knee = self._brake / self._close**2
        self._swing_time = limits.acceleration_rad_s2 / limits.jerk_rad_s3 + 4.0 * dt_s
        n = len(limits.lower_rad)
        self._top, self._most = limits.velocity_rad_s, limits.acceleration_rad_s2
        self._below_top, self._least = -self._top, -self._most
        level = self._most / self._jerk_step
        self._free_speed = self._top - self._jerk_step_dt * (0.5 * level * (level + 1.0) + 0.125)  # a generous _unwinding_level
        farthest = self._farthest_stop()
        self._free_lower, self._free_upper = limits.lower_rad + farthest, limits.upper_rad - farthest
        self._stops: list[Array | None] = [None] * n
        self.state = JointState(np.zeros(n), np.zeros(n), np.zeros(n))

    def reset(self, position_rad: Array) -> None:
        """Stand still at a position. Raises ValueError outside the position limits."""
        position = np.array(position_rad, dtype=float)
        if not np.all((position >= self.limits.lower_rad) & (position <= self.limits.upper_rad)):
            raise ValueError(f"expected joint positions within {self.limits.lower_rad} to {self.limits.upper_rad}, got {position}")
        zero = np.zeros_like(position)
        self._stops = [None] * len(position)
        self.state = JointState(position, zero, zero)

    def restore(self, state: JointState) -> None:
        """Go back to the state of the previous tick; its stop is worked out again."""
        self._stops = [None] * len(state.position)
        self.state = state

    @property
    def standing(self) -> bool:
        """Velocity and acceleration are exactly zero."""
        return not (self.state.velocity.any() or self.state.acceleration.any())

    def track(self, position_rad: Array, velocity_rad_s: Array, acceleration_rad_s2: Array) -> JointState:
        """Next state on the way to a target that is meant for the end of this tick."""
        wanted = self._wanted(position_rad, velocity_rad_s, acceleration_rad_s2)
        followed = self._followed(position_rad, velocity_rad_s, acceleration_rad_s2)
        if followed is not None:
            wanted = np.where(np.isnan(followed), wanted, followed)
        allowed = self._within_derivatives(wanted)
        if np.count_nonzero(np.abs(allowed - wanted) > 1e-6):
            self.hits += 1
        self.state = self._within_positions(allowed)
        return self.state

    def brake(self) -> JointState:
        """Next state of the shortest stop of every joint: the way verified when the present state was emitted."""
        if not self.standing:
            acceleration = np.array([self._next_of_stop(j) for j in range(len(self._stops))])
            self.state = self._settled(self._integrated(acceleration), acceleration)
        return self.state

    def way_to_rest(self) -> tuple[Array, Array, Array]:
        """Positions, velocities and accelerations (K, n) of the next K ticks if ``brake`` is all that comes; the last one is at rest."""
        now, dt = self.state, self.dt_s
        stops = [stop if stop is not None else self._stop(now, j) for j, stop in enumerate(self._stops)]
        path = np.zeros((max(map(len, stops)) + 1, len(stops)))
        path[0] = now.acceleration
        for j, stop in enumerate(stops):
            path[1 : len(stop) + 1, j] = stop
        velocities = now.velocity + np.cumsum(np.vstack([np.zeros_like(now.velocity), 0.5 * dt * (path[:-1] + path[1:])]), axis=0)
        for j, stop in enumerate(stops):
            velocities[len(stop) :, j] = 0.0  # as in ``_settled``; without a stop the joint stands already
        moved = np.cumsum(velocities[:-1] * dt + (2.0 * path[:-1] + path[1:]) * (dt * dt / 6.0), axis=0)
        return now.position + moved, velocities[1:], path[1:]

    def _followed(self, position: Array, velocity: Array, acceleration: Array) -> Array | None:
        if self._follower is None:
            return None
        now, limits = self.state, self.limits
        goal = np.minimum(np.maximum(position, limits.lower_rad), limits.upper_rad)
        inside = goal == position
        return self._follower(now.position, now.velocity, now.acceleration, goal, velocity * inside, acceleration * inside)

    def _wanted(self, position: Array, velocity: Array, acceleration: Array) -> Array:
        """Acceleration that closes the error without overshoot: fast while far, with the braking parabola, exponentially when near."""
        limits, dt, now = self.limits, self.dt_s, self.state
        goal = np.minimum(np.maximum(position, limits.lower_rad), limits.upper_rad)
        outside = goal != position
        if np.count_nonzero(outside):
            velocity, acceleration = np.where(outside, 0.0, velocity), np.where(outside, 0.0, acceleration)
        error = goal - (now.position + now.velocity * dt + (2.0 * now.acceleration + acceleration) * (dt * dt / 6.0))
        ahead = now.velocity + (now.acceleration + acceleration) * (0.5 * dt)
        size = np.abs(error)
        near = size <= self._knee
        if np.count_nonzero(near) == len(near):
            approach, slope = self._close * error, self._close
        else:
            parabola = np.sqrt(2.0 * self._brake * np.maximum(size - 0.5 * self._knee, 0.25 * self._knee))
            approach = np.where(near, self._close * error, np.sign(error) * parabola)
            slope = np.where(near, self._close, self._brake / parabola)
        aim = np.minimum(np.maximum(velocity + approach, self._below_top), self._top)
        if limits.envelope is not None:
            aim = np.minimum(np.maximum(aim, -limits.envelope.downwards(now.position)), limits.envelope.upwards(now.position))
        catch_up = np.minimum(np.maximum(velocity - ahead, self._below_top), self._top)
        return np.asarray(acceleration + self._match * (aim - ahead) + slope * catch_up)

    def _within_derivatives(self, wanted: Array) -> Array:
        limits, now = self.limits, self.state
        lowest = np.maximum(self._least, now.acceleration - self._jerk_step)
        highest = np.minimum(self._most, now.acceleration + self._jerk_step)
        coasting = now.velocity + now.acceleration * (0.5 * self.dt_s)
        direct = np.minimum(np.maximum(wanted, lowest), highest)
        # Where unwinding the largest acceleration still ends below the velocity limit, that limit is no matter.
        if np.count_nonzero(np.abs(coasting) > self._free_speed) == 0:
            return np.asarray(direct)
        above = self._jerk_step * _unwinding_level((limits.velocity_rad_s - coasting) / self._jerk_step_dt)
        below = -self._jerk_step * _unwinding_level((limits.velocity_rad_s + coasting) / self._jerk_step_dt)
        chosen = np.minimum(np.maximum(wanted, below), above)
        return np.minimum(np.maximum(chosen, lowest), highest)

    def _within_positions(self, acceleration: Array) -> JointState:
        candidate = self._integrated(acceleration)
        place = candidate.position
        free = (place > self._free_lower) & (place < self._free_upper)
        unbounded = self.limits.envelope is None and np.count_nonzero(free) == len(free)
        risky = None if unbounded else self._may_leave(candidate)
        if risky is None or not np.count_nonzero(risky):
            self._stops = [None] * len(self._stops)
            return candidate
        acceleration = acceleration.copy()
        braking = False
        for j in range(len(risky)):
            if not risky[j]:
                self._stops[j] = None
                continue
            stop = self._stop(candidate, j)
            if self._stays_inside(candidate, j, stop):
                self._stops[j] = stop
            else:
                acceleration[j] = self._next_of_stop(j)
                braking = True
        if not braking:
            return candidate
        self.hits += 1
        return self._settled(self._integrated(acceleration), acceleration)

    def _farthest_stop(self) -> Array:
        """What ``_may_leave`` reckons for a joint at its largest velocity and acceleration: farther from a limit nothing can be wrong."""
        limits = self.limits
        unwinding = limits.acceleration_rad_s2**2 / (2.0 * limits.jerk_rad_s3) + limits.acceleration_rad_s2 * (0.5 * self.dt_s)
        speed = limits.velocity_rad_s + unwinding
        spare = self._swing_time + limits.acceleration_rad_s2 / limits.jerk_rad_s3
        return np.asarray(1.001 * speed * (speed / limits.acceleration_rad_s2 + spare))

    def _may_leave(self, state: JointState) -> NDArray[np.bool_]:
        """True where a generous bound of the stopping distance does not fit; only there the stop itself is worked out."""
        unwinding = state.acceleration * np.abs(state.acceleration) / (2.0 * self.limits.jerk_rad_s3) + state.acceleration * (
            0.5 * self.dt_s
        )
        upwards = np.maximum(np.maximum(state.velocity, state.velocity + unwinding), 0.0)
        downwards = np.maximum(np.maximum(-state.velocity, -state.velocity - unwinding), 0.0)
        spare = self._swing_time + np.abs(state.acceleration) / self.limits.jerk_rad_s3
        rise = upwards * (upwards / self.limits.acceleration_rad_s2 + spare)
        fall = downwards * (downwards / self.limits.acceleration_rad_s2 + spare)
        highest, lowest = state.position + rise, state.position - fall
        leaving = (highest > self.limits.upper_rad) | (lowest < self.limits.lower_rad)
        envelope = self.limits.envelope
        if envelope is None:
            return np.asarray(leaving)
        return np.asarray(leaving | (upwards > envelope.upwards(highest)) | (downwards > envelope.downwards(lowest)))

    def _stop(self, state: JointState, j: int) -> Array:
        return brake_accelerations(
            float(state.velocity[j]),
            float(state.acceleration[j]),
            float(self.limits.acceleration_rad_s2[j]),
            float(self._jerk_step[j]),
            self.dt_s,
        )

    def _stays_inside(self, state: JointState, j: int, stop: Array) -> bool:
        dt = self.dt_s
        path = np.concatenate([state.acceleration[j : j + 1], stop])
        steps = 0.5 * dt * (path[:-1] + path[1:])
        velocities = state.velocity[j] + np.concatenate([[0.0], np.cumsum(steps)])
        moved = np.cumsum(velocities[:-1] * dt + (2.0 * path[:-1] + path[1:]) * (dt * dt / 6.0))
        places = state.position[j] + np.concatenate([[0.0], moved])
        if places.max() > self.limits.upper_rad[j] or places.min() < self.limits.lower_rad[j]:
            return False
        envelope = self.limits.envelope
        return envelope is None or _stays_under(envelope, j, places, velocities)

    def _next_of_stop(self, j: int) -> float:
        """Acceleration of the next tick of the joint's stop; the rest of the stop is kept."""
        stop = self._stops[j]
        if stop is None:
            stop = self._stop(self.state, j)
        self._stops[j] = stop[1:]
        return float(stop[0]) if len(stop) else 0.0

    def _integrated(self, acceleration: Array) -> JointState:
        dt, now = self.dt_s, self.state
        return JointState(
            now.position + now.velocity * dt + (2.0 * now.acceleration + acceleration) * (dt * dt / 6.0),
            now.velocity + (now.acceleration + acceleration) * (0.5 * dt),
            acceleration,
        )

    def _settled(self, state: JointState, acceleration: Array) -> JointState:
        """Rounding leaves 1e-17 rad/s at the end of a stop: make it zero, so that rest is exact."""
        rest = (np.abs(state.velocity) < 1e-12) & (np.abs(acceleration) < 1e-12)
        if not rest.any():
            return state
        for j in np.flatnonzero(rest):
            self._stops[j] = None
        return JointState(state.position, np.where(rest, 0.0, state.velocity), np.where(rest, 0.0, acceleration))


def _stays_under(envelope: VelocityEnvelope, j: int, places: Array, velocities: Array) -> bool:
    """Whether one joint's way keeps its position-dependent velocity limits; the end of a stop may be at rest anywhere."""
    double, share, offset = 2.0 * envelope.deceleration_rad_s2[j], envelope.share[j], envelope.offset_rad_s[j]
    up = share * np.maximum(np.sqrt(double * np.maximum(envelope.upper_rad[j] - places, 0.0)) - offset, 0.0)
    down = share * np.maximum(np.sqrt(double * np.maximum(places - envelope.lower_rad[j], 0.0)) - offset, 0.0)
    rounding = 1e-12
    return bool((velocities <= up + rounding).all() and (velocities >= -down - rounding).all())


def _unwinding_level(room: Array) -> Array:
    """Largest acceleration, in jerk steps, after which unwinding at the jerk limit adds no more than ``room`` (in jerk steps * dt).

    m whole steps and a share s of one more add m (m + 1) / 2 + s (m + 1); negative room asks for a negative acceleration.
    """
    whole = np.floor(0.5 * (np.sqrt(1.0 + 8.0 * np.maximum(room, 0.0)) - 1.0))
    level = whole + (room - 0.5 * whole * (whole + 1.0)) / (whole + 1.0)
    return np.where(room < 0.0, 2.0 * room, level)
