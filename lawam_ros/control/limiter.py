"""The last thing that modifies a command: position, velocity, acceleration and jerk limits of every joint, each tick."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import JointLimits
from lawam_ros.control.brake_profile import brake_accelerations

Array = NDArray[np.float64]

_CLOSE_RATE_PER_S = 40.0
_MATCH_RATE_PER_S = 100.0
_BRAKE_SHARE = 0.6


@dataclass(frozen=True)
class JointState:
    """Commanded positions (rad), velocities (rad/s) and accelerations (rad/s2) of all joints at one tick."""

    position: Array
    velocity: Array
    acceleration: Array


def stacked_limits(limits: Sequence[JointLimits]) -> JointLimits:
    """Limits of several arms as one vector."""
    names = JointLimits.__dataclass_fields__
    return JointLimits(**{name: np.concatenate([getattr(one, name) for one in limits]) for name in names})


STAMP_RESERVE = 2e-4
"""Share of the derivative limits kept back.

Stamps follow a slewed clock, so a tick of theirs may be shorter than a tick of ours by half of this.
"""


def with_reserve(limits: JointLimits) -> JointLimits:
    """Limits for a limiter whose output will be judged by its stamps."""
    keep = 1.0 - STAMP_RESERVE
    return replace(
        limits,
        velocity_rad_s=keep * limits.velocity_rad_s,
        acceleration_rad_s2=keep * limits.acceleration_rad_s2,
        jerk_rad_s3=keep * limits.jerk_rad_s3,
    )


class JointLimiter:
    """Follows targets within the limits; every state it emits has a verified way to rest within the limits.

    The acceleration is linear within a tick (constant jerk), so the emitted samples are points of one smooth motion: velocities,
    accelerations and jerks keep their limits as reported, as differences over the tick and in between.
    Velocity: an acceleration is allowed only if unwinding it at the jerk limit ends below the velocity limit.
    Position: a state is allowed only if its shortest stop stays inside; otherwise the joint takes the next step of the stop that was
    verified one tick earlier.
    """

    def __init__(self, limits: JointLimits, dt_s: float) -> None:
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
        allowed = self._within_derivatives(wanted)
        if np.abs(allowed - wanted).max() > 1e-6:
            self.hits += 1
        self.state = self._within_positions(allowed)
        return self.state

    def brake(self) -> JointState:
        """Next state of the shortest stop of every joint: the way verified when the present state was emitted."""
        if not self.standing:
            acceleration = np.array([self._next_of_stop(j) for j in range(len(self._stops))])
            self.state = self._settled(self._integrated(acceleration), acceleration)
        return self.state

    def _wanted(self, position: Array, velocity: Array, acceleration: Array) -> Array:
        """Acceleration that closes the error without overshoot: fast while far, with the braking parabola, exponentially when near."""
        limits, dt, now = self.limits, self.dt_s, self.state
        goal = np.minimum(np.maximum(position, limits.lower_rad), limits.upper_rad)
        outside = goal != position
        if outside.any():
            velocity, acceleration = np.where(outside, 0.0, velocity), np.where(outside, 0.0, acceleration)
        error = goal - (now.position + now.velocity * dt + (2.0 * now.acceleration + acceleration) * (dt * dt / 6.0))
        ahead = now.velocity + (now.acceleration + acceleration) * (0.5 * dt)
        size = np.abs(error)
        near = size <= self._knee
        parabola = np.sqrt(2.0 * self._brake * np.maximum(size - 0.5 * self._knee, 0.25 * self._knee))
        approach = np.where(near, self._close * error, np.sign(error) * parabola)
        slope = np.where(near, self._close, self._brake / parabola)
        top = limits.velocity_rad_s
        aim = np.minimum(np.maximum(velocity + approach, -top), top)
        return np.asarray(acceleration + self._match * (aim - ahead) + slope * np.minimum(np.maximum(velocity - ahead, -top), top))

    def _within_derivatives(self, wanted: Array) -> Array:
        limits, now = self.limits, self.state
        lowest = np.maximum(-limits.acceleration_rad_s2, now.acceleration - self._jerk_step)
        highest = np.minimum(limits.acceleration_rad_s2, now.acceleration + self._jerk_step)
        coasting = now.velocity + now.acceleration * (0.5 * self.dt_s)
        above = self._jerk_step * _unwinding_level((limits.velocity_rad_s - coasting) / self._jerk_step_dt)
        below = -self._jerk_step * _unwinding_level((limits.velocity_rad_s + coasting) / self._jerk_step_dt)
        chosen = np.minimum(np.maximum(wanted, below), above)
        return np.minimum(np.maximum(chosen, lowest), highest)

    def _within_positions(self, acceleration: Array) -> JointState:
        candidate = self._integrated(acceleration)
        risky = self._may_leave(candidate)
        if not risky.any():
            if any(stop is not None for stop in self._stops):
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
        return (state.position + rise > self.limits.upper_rad) | (state.position - fall < self.limits.lower_rad)

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
        before = state.velocity[j] + np.concatenate([[0.0], np.cumsum(steps)[:-1]]) if len(steps) else np.empty(0)
        moved = np.cumsum(before * dt + (2.0 * path[:-1] + path[1:]) * (dt * dt / 6.0))
        places = state.position[j] + np.concatenate([[0.0], moved])
        return bool(places.max() <= self.limits.upper_rad[j] and places.min() >= self.limits.lower_rad[j])

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


def _unwinding_level(room: Array) -> Array:
    """Largest acceleration, in jerk steps, after which unwinding at the jerk limit adds no more than ``room`` (in jerk steps * dt).

    m whole steps and a share s of one more add m (m + 1) / 2 + s (m + 1); negative room asks for a negative acceleration.
    """
    whole = np.floor(0.5 * (np.sqrt(1.0 + 8.0 * np.maximum(room, 0.0)) - 1.0))
    level = whole + (room - 0.5 * whole * (whole + 1.0)) / (whole + 1.0)
    return np.where(room < 0.0, 2.0 * room, level)
