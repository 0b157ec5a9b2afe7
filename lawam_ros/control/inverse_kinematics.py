"""Differential inverse kinematics: joint targets that follow moving TCP targets, for all arms of equally many joints at once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import Arm
from lawam_ros.control import scalar_rotations as rot
from lawam_ros.control.kinematics import Chain

Array = NDArray[np.float64]

_ERROR_GAIN_PER_S = 25.0
_POSTURE_GAIN_PER_S = 0.5
_FULL_POSTURE_SPEED = 0.05
_BASE_DAMPING = 1e-4
_SINGULAR_VALUE_FLOOR = 0.08
_MAX_DAMPING = 0.08
_SLOWEST_SINGULAR_VALUE, _SLOWEST_PACE = 0.02, 0.2
_EYE = np.eye(6)
_BASE_DAMPING_SQUARED = _BASE_DAMPING * _BASE_DAMPING * _EYE
_FLOOR_SQUARED = _SINGULAR_VALUE_FLOOR**2 * _EYE


class IkStep(NamedTuple):
    """Joint targets of one tick, (A, n) in rad and rad/s, and per arm what was left of the pose error (m, rad).

    speed_share: largest share of a joint velocity limit that the target asked for; above 1 the step was scaled down.
    pace: what the target's speed should be multiplied by, below 1 only on the way into a singularity.
    """

    position_rad: Array
    velocity_rad_s: Array
    error_m: tuple[float, ...]
    error_rad: tuple[float, ...]
    speed_share: tuple[float, ...]
    pace: tuple[float, ...]


class InverseKinematics:
    """Damped least squares with posture control in the null space.

    Works on its own joint targets, which start from the commanded joints and never from measured ones. The step follows the target's own
    movement fully and takes back the accumulated error with a time constant of 40 ms. Damping grows near singularities, joint limits are
    kept by leaving out the joints that would cross them, and the whole step is scaled to the joint velocity limits. The arm is pulled
    towards its home posture only while the TCP moves, so that it stands still at rest. On the way into a singularity a slower pace is asked
    for, on the way out none.
    """

    def __init__(self, arms: Sequence[Arm], chains: Sequence[Chain], dt_s: float) -> None:
        """arms and their chains in the same order, all of equally many joints."""
        self.chain = Chain.stacked(chains)
        self._dt_s = dt_s
        self._error_gain, self._posture_gain = _ERROR_GAIN_PER_S * dt_s, _POSTURE_GAIN_PER_S * dt_s
        self._lower = np.array([arm.limits.lower_rad for arm in arms])
        self._upper = np.array([arm.limits.upper_rad for arm in arms])
        self._home = np.array([arm.home_rad for arm in arms])
        self._max_step = np.array([arm.limits.velocity_rad_s for arm in arms]) * dt_s
        self._targets: list[tuple[rot.Vector, rot.Quat]] = [((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))] * len(arms)
        self.position_rad = self._home.copy()
        self._smallest = [math.inf] * len(arms)

    def start(self, position_rad: Array) -> list[tuple[rot.Vector, rot.Quat]]:
        """Begin at rest at these joints (A, n); returns the TCP position (m) and quaternion that belong to each arm's."""
        self.position_rad = np.array(position_rad, dtype=float)
        transforms = self.chain.transform(self.position_rad).tolist()
        self._targets = [((rows[0][3], rows[1][3], rows[2][3]), rot.from_rows(rows)) for rows in transforms]
        return self._targets

    def step(self, positions_m: Sequence[Sequence[float]], quats_xyzw: Sequence[rot.Quat]) -> IkStep:
        """One tick towards a TCP target per arm, each in its arm's base frame."""
        transforms, jacobian = self.chain.transform_and_jacobian(self.position_rad)
        twists: list[float] = []  # flat: nested lists take numpy twice the time
        gains, error_m, error_rad, targets = [], [], [], []
        gain = self._error_gain
        for rows, (x, y, z), quat, (before, before_quat) in zip(transforms.tolist(), positions_m, quats_xyzw, self._targets, strict=True):
            mx, my, mz = x - before[0], y - before[1], z - before[2]
            ex, ey, ez = before[0] - rows[0][3], before[1] - rows[1][3], before[2] - rows[2][3]
            ma, mb, mc = rot.difference(quat, before_quat)
            ea, eb, ec = rot.difference(before_quat, rot.from_rows(rows))
            twists += (mx + gain * ex, my + gain * ey, mz + gain * ez, ma + gain * ea, mb + gain * eb, mc + gain * ec)
            speed = math.hypot(mx, my, mz, ma, mb, mc) / self._dt_s
            gains.append(self._posture_gain * min(1.0, speed / _FULL_POSTURE_SPEED))
            error_m.append(math.hypot(ex, ey, ez))
            error_rad.append(math.hypot(ea, eb, ec))
            targets.append(((x, y, z), quat))
        self._targets = targets
        gram = jacobian @ jacobian.swapaxes(-1, -2)
        damping, smallest = _damping_squared(gram)
        posture = np.array(gains)[:, None] * (self._home - self.position_rad)
        step = self._solve(jacobian, gram + damping, np.array(twists).reshape(-1, 6, 1), posture)
        shares = [max(row) for row in (np.abs(step) / self._max_step).tolist()]
        if max(shares) > 1.0:
            step = step / np.maximum(shares, 1.0)[:, None]
        self.position_rad = self.position_rad + step
        return IkStep(self.position_rad, step / self._dt_s, tuple(error_m), tuple(error_rad), tuple(shares), self._paces(smallest))

    def _paces(self, smallest: list[float] | None) -> tuple[float, ...]:
        """smallest: singular values of this tick, None where none is near zero."""
        before = self._smallest
        self._smallest = [math.inf] * len(before) if smallest is None else smallest
        if smallest is None:
            return (1.0,) * len(before)
        span = _SINGULAR_VALUE_FLOOR - _SLOWEST_SINGULAR_VALUE
        slow = [min(1.0, max(_SLOWEST_PACE, (now - _SLOWEST_SINGULAR_VALUE) / span)) for now in smallest]
        return tuple(1.0 if now > then else share for now, then, share in zip(smallest, before, slow, strict=True))

    def _solve(self, jacobian: Array, damped_gram: Array, twist: Array, posture: Array) -> Array:
        step = _damped_step(jacobian, damped_gram, twist, posture)
        for _ in range(2):
            reached = self.position_rad + step
            crossing = (reached > self._upper) | (reached < self._lower)
            if not np.count_nonzero(crossing):
                return step
            jacobian = np.where(crossing[:, None, :], 0.0, jacobian)
            posture = np.where(crossing, 0.0, posture)
            gram = jacobian @ jacobian.swapaxes(-1, -2)
            step = _damped_step(jacobian, gram + _damping_squared(gram)[0], twist, posture)
        reached = np.minimum(np.maximum(self.position_rad + step, self._lower), self._upper)
        return np.asarray(reached - self.position_rad)


def _damped_step(jacobian: Array, damped_gram: Array, twist: Array, posture: Array) -> Array:
    """Joint steps (A, n) for small twists (A, 6, 1) with ``posture`` (A, n) projected into the null space. Jacobians (A, 6, n)."""
    rest = posture[..., None]
    return np.asarray((rest + jacobian.swapaxes(-1, -2) @ np.linalg.solve(damped_gram, twist - jacobian @ rest))[..., 0])


def _damping_squared(gram: Array) -> tuple[Array, list[float] | None]:
    """Squared damping on the diagonal, (A, 6, 6) or (6, 6), and the smallest singular values where one is below the floor it grows from."""
    try:
        # Positive definite with the floor taken off: no arm is near a singularity, and no eigenvalue needs to be known.
        np.linalg.cholesky(gram - _FLOOR_SQUARED)
    except np.linalg.LinAlgError:
        smallest = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[..., 0], 0.0))
        lack = np.maximum(1.0 - smallest / _SINGULAR_VALUE_FLOOR, 0.0)
        damping = _BASE_DAMPING + _MAX_DAMPING * lack * lack
        return np.asarray((damping * damping)[:, None, None] * _EYE), smallest.tolist()
    return _BASE_DAMPING_SQUARED, None
