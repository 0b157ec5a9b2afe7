"""Rotation vectors in motion: how their derivatives and angular velocity and acceleration give each other (left Jacobian of SO(3)).

For R = exp(r) with r changing in time, in fixed axes: angular velocity w = J(r) r', angular acceleration w' = J(r) r'' + J(r)' r', where
J(r) x = x + a r x x + b r x (r x x), a = (1 - cos t) / t^2, b = (t - sin t) / t^3, t = |r|. Everything on plain numbers: (x, y, z) in rad,
rad/s and rad/s2. Valid below a full turn.
"""

import math
from collections.abc import Sequence

from lawam_ros.control.scalar_rotations import Vector

_SMALL_SQUARED = 1e-4


def cross(a: Sequence[float], b: Sequence[float]) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def angular_velocity(rotvec: Sequence[float], rate: Sequence[float]) -> Vector:
    """Angular velocity while the rotation vector changes at ``rate``: the left Jacobian times the rate."""
    a, b, _, _ = _factors(rotvec)
    once = cross(rotvec, rate)
    return _sum(rate, a, once, b, cross(rotvec, once))


def angular_acceleration(rotvec: Sequence[float], rate: Sequence[float], curvature: Sequence[float]) -> Vector:
    """Angular acceleration while the rotation vector changes at ``rate``, which changes at ``curvature``."""
    a, b, _, _ = _factors(rotvec)
    once = cross(rotvec, curvature)
    return _sum(_sum(curvature, a, once, b, cross(rotvec, once)), 1.0, _drift(rotvec, rate), 0.0, rate)


def rotvec_rate(rotvec: Sequence[float], velocity: Sequence[float]) -> Vector:
    """Rate of the rotation vector that belongs to an angular velocity: the inverse of the left Jacobian times the velocity."""
    square = _square(rotvec)
    if square < _SMALL_SQUARED:
        c = 1.0 / 12.0 + square / 720.0
    else:
        angle = math.sqrt(square)
        c = 1.0 / square - (1.0 + math.cos(angle)) / (2.0 * angle * math.sin(angle))
    once = cross(rotvec, velocity)
    return _sum(velocity, -0.5, once, c, cross(rotvec, once))


def rotvec_curvature(rotvec: Sequence[float], rate: Sequence[float], acceleration: Sequence[float]) -> Vector:
    """Second derivative of the rotation vector that belongs to an angular acceleration at a given rate."""
    return rotvec_rate(rotvec, _sum(acceleration, -1.0, _drift(rotvec, rate), 0.0, rate))


def _drift(r: Sequence[float], rate: Sequence[float]) -> Vector:
    """J(r)' r': what angular acceleration there is although the rotation vector changes at a constant rate."""
    _, b, a_slope, b_slope = _factors(r)
    along = r[0] * rate[0] + r[1] * rate[1] + r[2] * rate[2]
    once = cross(r, rate)
    return _sum(_sum((0.0, 0.0, 0.0), a_slope * along, once, b, cross(rate, once)), b_slope * along, cross(r, once), 0.0, rate)


def _factors(r: Sequence[float]) -> tuple[float, float, float, float]:
    """a, b and their derivatives by the angle over the angle."""
    square = _square(r)
    if square < _SMALL_SQUARED:
        return 0.5 - square / 24.0, 1.0 / 6.0 - square / 120.0, -1.0 / 12.0 + square / 180.0, -1.0 / 60.0 + square / 1260.0
    angle = math.sqrt(square)
    a, b = (1.0 - math.cos(angle)) / square, (angle - math.sin(angle)) / (square * angle)
    return a, b, (math.sin(angle) / angle - 2.0 * a) / square, (a - 3.0 * b) / square


def _square(r: Sequence[float]) -> float:
    return r[0] * r[0] + r[1] * r[1] + r[2] * r[2]


def _sum(x: Sequence[float], p: float, y: Sequence[float], q: float, z: Sequence[float]) -> Vector:
    """x + p y + q z."""
    return (x[0] + p * y[0] + q * z[0], x[1] + p * y[1] + q * z[1], x[2] + p * y[2] + q * z[2])
