"""Rotations between the representations of policies, messages and control.

Quaternions are unit and in ROS order (x, y, z, w); rotation vectors are axis times angle in rad; matrices act on columns. Every function
takes leading batch dimensions. Kept in this room because action components are declared in these representations.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SMALL_ANGLE_RAD = 1e-6


def skew(v: Array) -> Array:
    """Cross-product matrix of ``v`` (..., 3), shape (..., 3, 3)."""
    v = np.asarray(v, dtype=float)
    zero = np.zeros_like(v[..., 0])
    rows = [[zero, -v[..., 2], v[..., 1]], [v[..., 2], zero, -v[..., 0]], [-v[..., 1], v[..., 0], zero]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quat_normalise(quat_xyzw: Array) -> Array:
    """Unit quaternion of (..., 4). Raises ValueError for a zero or non-finite one."""
    quat = np.asarray(quat_xyzw, dtype=float)
    norm = np.linalg.norm(quat, axis=-1, keepdims=True)
    if not np.all(np.isfinite(norm)) or np.any(norm < 1e-8):
        raise ValueError(f"expected a quaternion of non-zero finite length, got {quat.tolist()}")
    return np.asarray(quat / norm)


def quat_multiply(a: Array, b: Array) -> Array:
    """Quaternion of rotation ``a`` after rotation ``b``."""
    ax, ay, az, aw = np.moveaxis(np.asarray(a, dtype=float), -1, 0)
    bx, by, bz, bw = np.moveaxis(np.asarray(b, dtype=float), -1, 0)
    return np.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        axis=-1,
    )


def quat_inverse(quat_xyzw: Array) -> Array:
    return np.asarray(quat_xyzw * np.array([-1.0, -1.0, -1.0, 1.0]), dtype=float)


def quat_from_rotvec(rotvec: Array) -> Array:
    """Unit quaternion of a rotation vector (..., 3) in rad."""
    rotvec = np.asarray(rotvec, dtype=float)
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    safe = np.where(angle < _SMALL_ANGLE_RAD, 1.0, angle)
    scale = np.where(angle < _SMALL_ANGLE_RAD, 0.5 - angle**2 / 48.0, np.sin(0.5 * safe) / safe)
    return np.concatenate([scale * rotvec, np.cos(0.5 * angle)], axis=-1)


def rotvec_from_quat(quat_xyzw: Array) -> Array:
    """Rotation vector (..., 3) of the shorter way round, angle in [0, pi] rad."""
    quat = np.asarray(quat_xyzw, dtype=float)
    quat = np.where(quat[..., 3:] < 0.0, -quat, quat)
    sine = np.linalg.norm(quat[..., :3], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, quat[..., 3:])
    safe = np.where(sine < _SMALL_ANGLE_RAD, 1.0, sine)
    return quat[..., :3] * np.where(sine < _SMALL_ANGLE_RAD, 2.0, angle / safe)


def matrix_from_quat(quat_xyzw: Array) -> Array:
    """Rotation matrix (..., 3, 3) of a unit quaternion."""
    x, y, z, w = np.moveaxis(np.asarray(quat_xyzw, dtype=float), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quat_from_matrix(matrix: Array) -> Array:
    """Unit quaternion, w >= 0, of a rotation matrix (..., 3, 3): the largest of the four components is found first (Shepperd)."""
    m = np.asarray(matrix, dtype=float)
    quats = [_quat_from_rows(*rows) for rows in m.reshape(-1, 9).tolist()]
    return np.array(quats).reshape(m.shape[:-2] + (4,))


def _quat_from_rows(a: float, b: float, c: float, d: float, e: float, f: float, g: float, h: float, i: float) -> list[float]:
    """Plain numbers: numpy's calls would cost ten times the sums. The matrix is [[a, b, c], [d, e, f], [g, h, i]]."""
    trace = a + e + i
    largest = max(a, e, i, trace)
    if largest == a:
        quat = [1.0 + a - e - i, d + b, g + c, h - f]
    elif largest == e:
        quat = [b + d, 1.0 + e - i - a, h + f, c - g]
    elif largest == i:
        quat = [c + g, f + h, 1.0 + i - a - e, d - b]
    else:
        quat = [h - f, c - g, d - b, 1.0 + trace]
    scale = math.copysign(1.0 / math.sqrt(sum(x * x for x in quat)), quat[3] if quat[3] != 0.0 else 1.0)
    return [x * scale for x in quat]


def rotation_6d_from_quat(quat_xyzw: Array) -> Array:
    """First two columns of the rotation matrix, column after column (..., 6): continuous everywhere, unlike rpy and rotation vectors."""
    matrix = matrix_from_quat(quat_xyzw)
    return np.concatenate([matrix[..., :, 0], matrix[..., :, 1]], axis=-1)


def quat_from_rpy(rpy: Array) -> Array:
    """Unit quaternion of roll, pitch, yaw (..., 3) in rad about fixed x, y, z (URDF, scipy's ``xyz``): R = Rz(yaw) Ry(pitch) Rx(roll)."""
    half = 0.5 * np.asarray(rpy, dtype=float)
    (cr, cp, cy), (sr, sp, sy) = np.moveaxis(np.cos(half), -1, 0), np.moveaxis(np.sin(half), -1, 0)
    return np.stack(
        [cy * cp * sr - sy * sp * cr, cy * sp * cr + sy * cp * sr, sy * cp * cr - cy * sp * sr, cy * cp * cr + sy * sp * sr], axis=-1
    )


def rpy_from_quat(quat_xyzw: Array) -> Array:
    """Roll, pitch, yaw (..., 3) about fixed x, y, z in rad: roll and yaw in (-pi, pi], pitch in [-pi/2, pi/2], at its ends yaw 0."""
    x, y, z, w = np.moveaxis(np.asarray(quat_xyzw, dtype=float), -1, 0)
    sine = np.clip(2.0 * (w * y - z * x), -1.0, 1.0)
    singular = np.abs(sine) > 1.0 - 1e-12
    roll = np.where(singular, 2.0 * np.arctan2(x, w), np.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y)))
    yaw = np.where(singular, 0.0, np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))
    return np.stack([np.where(singular, (roll + np.pi) % (2.0 * np.pi) - np.pi, roll), np.arcsin(sine), yaw], axis=-1)


def rpy_nearest(rpy: Array, reference_rpy: Array) -> Array:
    """The representation of the same rotation (3,) that lies nearest to a reference: whole turns added, or the other branch of pitch."""
    rpy, reference = np.asarray(rpy, dtype=float), np.asarray(reference_rpy, dtype=float)
    branches = [rpy, np.array([rpy[0] + np.pi, np.pi - rpy[1], rpy[2] + np.pi])]
    turned = [branch - 2.0 * np.pi * np.round((branch - reference) / (2.0 * np.pi)) for branch in branches]
    return min(turned, key=lambda branch: float(np.linalg.norm(branch - reference)))


def quat_slerp(a: Array, b: Array, fraction: Array | float) -> Array:
    """Rotation ``fraction`` of the shorter way from ``a`` to ``b`` (constant angular velocity). ``fraction`` broadcasts over the batch."""
    step = np.asarray(fraction, dtype=float)[..., None] * rotvec_from_quat(quat_multiply(b, quat_inverse(a)))
    return quat_normalise(quat_multiply(quat_from_rotvec(step), a))


def quat_make_continuous(quats_xyzw: Array) -> Array:
    """Signs of a sequence (N, 4) chosen so that neighbours have a positive dot product."""
    quats = np.array(quats_xyzw, dtype=float)
    flips = np.where(np.sum(quats[1:] * quats[:-1], axis=-1) < 0.0, -1.0, 1.0)
    quats[1:] *= np.cumprod(flips)[:, None]
    return quats
