"""Rotations of single poses on plain floats, for the tick: a few microseconds where the batched helpers of the contract take tens."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Quat = tuple[float, float, float, float]
Vector = tuple[float, float, float]

_SMALL = 1e-9


def multiply(a: Sequence[float], b: Sequence[float]) -> Quat:
    """Quaternion (xyzw) of rotation ``a`` after rotation ``b``."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def conjugate(q: Sequence[float]) -> Quat:
    return (-q[0], -q[1], -q[2], q[3])


def normalise(q: Sequence[float]) -> Quat:
    scale = 1.0 / math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    return (q[0] * scale, q[1] * scale, q[2] * scale, q[3] * scale)


def from_rotvec(r: Sequence[float]) -> Quat:
    angle = math.sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2])
    scale = 0.5 - angle * angle / 48.0 if angle < 1e-5 else math.sin(0.5 * angle) / angle
    return (scale * r[0], scale * r[1], scale * r[2], math.cos(0.5 * angle))


def to_rotvec(q: Sequence[float]) -> Vector:
    """Rotation vector (rad) of the shorter way round."""
    x, y, z, w = q
    if w < 0.0:
        x, y, z, w = -x, -y, -z, -w
    sine = math.sqrt(x * x + y * y + z * z)
    scale = 2.0 if sine < _SMALL else 2.0 * math.atan2(sine, w) / sine
    return (x * scale, y * scale, z * scale)


def difference(a: Sequence[float], b: Sequence[float]) -> Vector:
    """Rotation vector (rad, fixed axes) that leads from ``b`` to ``a``: a = exp(difference) * b."""
    return to_rotvec(multiply(a, conjugate(b)))


def from_matrix(m: Array) -> Quat:
    """Unit quaternion of a rotation matrix, the largest component first (Shepperd), w >= 0."""
    return from_rows(m.tolist())


def from_rows(rows: Sequence[Sequence[float]]) -> Quat:
    """As ``from_matrix``, of the rows of a 3x3 or 4x4 transform as plain numbers."""
    a, b, c = rows[0][:3]
    d, e, f = rows[1][:3]
    g, h, i = rows[2][:3]
    trace = a + e + i
    if trace >= max(a, e, i):
        q = (h - f, c - g, d - b, 1.0 + trace)
    elif a >= e and a >= i:
        q = (1.0 + a - e - i, b + d, c + g, h - f)
    elif e >= i:
        q = (b + d, 1.0 + e - a - i, f + h, c - g)
    else:
        q = (c + g, f + h, 1.0 + i - a - e, d - b)
    x, y, z, w = normalise(q)
    return (x, y, z, w) if w >= 0.0 else (-x, -y, -z, -w)


def to_rows(q: Sequence[float]) -> tuple[Vector, Vector, Vector]:
    """Rows of the rotation matrix of a unit quaternion."""
    x, y, z, w = q
    return (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)),
        (2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)),
        (2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)),
    )


def rotate(q: Sequence[float], v: Sequence[float]) -> Vector:
    """Vector ``v`` turned by ``q``."""
    x, y, z, w = q
    tx, ty, tz = 2.0 * (y * v[2] - z * v[1]), 2.0 * (z * v[0] - x * v[2]), 2.0 * (x * v[1] - y * v[0])
    return (v[0] + w * tx + y * tz - z * ty, v[1] + w * ty + z * tx - x * tz, v[2] + w * tz + x * ty - y * tx)
