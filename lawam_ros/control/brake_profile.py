"""The shortest stop of one joint in whole ticks, within its acceleration and jerk limits."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def brake_accelerations(velocity: float, acceleration: float, limit: float, jerk_step: float, dt_s: float) -> Array:
    """Accelerations at the ends of the next ticks that bring a joint exactly to velocity 0 and acceleration 0.

    velocity in rad/s, acceleration and its limit in rad/s2, jerk_step = jerk limit * dt_s in rad/s2 per tick. The acceleration is linear
    within a tick, so a tick adds dt (a_before + a_after) / 2 to the velocity. Empty where the joint stands already.
    """
    if velocity == 0.0 and acceleration == 0.0:
        return np.empty(0)
    unwind = _unwind(acceleration, jerk_step)
    # What the inner accelerations must add up to; the trapezoids leave half of the first acceleration to the velocity.
    demand = -(velocity / dt_s + 0.5 * acceleration)
    sign = 1.0
    if demand > unwind.sum():
        # Mirrored so that the rest after unwinding always has to be braked downwards.
        sign, demand, acceleration, unwind = -1.0, -demand, -acceleration, -unwind
    shorter = unwind
    count = max(1, math.ceil(abs(acceleration) / jerk_step - 1e-9))
    longer = _deepest(acceleration, count, limit, jerk_step)
    guess = count
    while longer.sum() > demand:
        shorter, count = longer, guess
        lacking = longer.sum() - demand
        guess = count + max(1, int(lacking / limit))
        longer = _deepest(acceleration, guess, limit, jerk_step)
    while guess - count > 1:
        middle = (guess + count) // 2
        trial = _deepest(acceleration, middle, limit, jerk_step)
        if trial.sum() > demand:
            shorter, count = trial, middle
        else:
            longer, guess = trial, middle
    return sign * _mixed(shorter, longer, demand)


def _mixed(shorter: Array, longer: Array, demand: float) -> Array:
    """Convex combination of two allowed sequences (hence allowed) with the demanded sum, with the closing zero."""
    padded = np.zeros(max(len(shorter), len(longer)))
    padded[: len(shorter)] = shorter
    deep = np.zeros_like(padded)
    deep[: len(longer)] = longer
    span = padded.sum() - deep.sum()
    share = 0.0 if span <= 0.0 else min(max((padded.sum() - demand) / span, 0.0), 1.0)
    return np.append(padded + share * (deep - padded), 0.0)


def _unwind(acceleration: float, jerk_step: float) -> Array:
    """Straight way of the acceleration to zero, the zero itself left out."""
    count = max(0, math.ceil(abs(acceleration) / jerk_step - 1e-9) - 1)
    left: Array = abs(acceleration) - jerk_step * np.arange(1, count + 1, dtype=float)
    return left if acceleration >= 0.0 else -left


def _deepest(acceleration: float, count: int, limit: float, jerk_step: float) -> Array:
    """Most negative accelerations of ``count - 1`` ticks that start one jerk step from the present one back at zero at tick ``count``."""
    i = np.arange(1, count, dtype=float)
    deepest: Array = -np.minimum(np.minimum(limit, jerk_step * (count - i)), jerk_step * i - acceleration)
    return deepest
