"""Differential inverse kinematics of one arm: joint targets that follow a moving TCP target."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class IkStep:
    """Joint targets of one tick (rad, rad/s) and what was left of the pose error (m, rad).

    speed_share: largest share of a joint velocity limit that the target asked for; above 1 the step was scaled down.
    """

    position_rad: Array
    velocity_rad_s: Array
    error_m: float
    error_rad: float
    speed_share: float


class InverseKinematics:
    """Damped least squares with posture control in the null space.

    Works on its own joint targets, which start from the commanded joints and never from measured ones. The step follows the target's own
    movement fully and takes back the accumulated error with a time constant of 40 ms. Damping grows near singularities, joint limits are
    kept by leaving out the joints that would cross them, and the whole step is scaled to the joint velocity limits. The arm is pulled
    towards its home posture only while the TCP moves, so that it stands still at rest.
    """

    def __init__(self, arm: Arm, chain: Chain, dt_s: float) -> None:
        self._arm = arm
        self._chain = chain
        self._dt_s = dt_s
        self._max_step = arm.limits.velocity_rad_s * dt_s
        self._target_position = np.zeros(3)
        self._target_quat: rot.Quat = (0.0, 0.0, 0.0, 1.0)
        self.position_rad = arm.home_rad.copy()

    def start(self, position_rad: Array) -> tuple[Array, rot.Quat]:
        """Begin at rest at these joints; returns the TCP position (m) and quaternion that belong to them."""
        self.position_rad = np.array(position_rad, dtype=float)
        transform = self._chain.transform(self.position_rad)
        self._target_position, self._target_quat = transform[:3, 3].copy(), rot.from_matrix(transform)
        return self._target_position, self._target_quat

    def step(self, position_m: Array, quat_xyzw: rot.Quat) -> IkStep:
        """One tick towards a TCP target in the arm's base frame."""
        transform, jacobian = self._chain.transform_and_jacobian(self.position_rad)
        moved = np.empty(6)
        moved[:3] = position_m - self._target_position
        moved[3:] = rot.difference(quat_xyzw, self._target_quat)
        error = np.empty(6)
        error[:3] = self._target_position - transform[:3, 3]
        error[3:] = rot.difference(self._target_quat, rot.from_matrix(transform))
        self._target_position, self._target_quat = np.array(position_m), quat_xyzw
        twist = moved + (_ERROR_GAIN_PER_S * self._dt_s) * error
        speed = float(np.sqrt(moved @ moved)) / self._dt_s
        posture_gain = _POSTURE_GAIN_PER_S * self._dt_s * min(1.0, speed / _FULL_POSTURE_SPEED)
        step = self._solve(jacobian, twist, posture_gain * (self._arm.home_rad - self.position_rad))
        scale = float((np.abs(step) / self._max_step).max())
        if scale > 1.0:
            step = step / scale
        self.position_rad = self.position_rad + step
        return IkStep(
            position_rad=self.position_rad,
            velocity_rad_s=step / self._dt_s,
            error_m=float(np.sqrt(error[:3] @ error[:3])),
            error_rad=float(np.sqrt(error[3:] @ error[3:])),
            speed_share=scale,
        )

    def _solve(self, jacobian: Array, twist: Array, posture: Array) -> Array:
        limits = self._arm.limits
        step = _damped_step(jacobian, twist, posture)
        for _ in range(2):
            reached = self.position_rad + step
            crossing = (reached > limits.upper_rad) | (reached < limits.lower_rad)
            if not crossing.any():
                return step
            jacobian = np.where(crossing, 0.0, jacobian)
            posture = np.where(crossing, 0.0, posture)
            step = _damped_step(jacobian, twist, posture)
        reached = np.minimum(np.maximum(self.position_rad + step, limits.lower_rad), limits.upper_rad)
        return reached - self.position_rad


def _damped_step(jacobian: Array, twist: Array, posture: Array) -> Array:
    """Joint step (n,) for a small twist (6,) with ``posture`` (n,) projected into the null space."""
    gram = jacobian @ jacobian.T
    smallest = float(np.sqrt(max(float(np.linalg.eigvalsh(gram)[0]), 0.0)))
    damping = _BASE_DAMPING
    if smallest < _SINGULAR_VALUE_FLOOR:
        damping += _MAX_DAMPING * (1.0 - smallest / _SINGULAR_VALUE_FLOOR) ** 2
    gram.flat[::7] += damping * damping
    step: Array = posture + jacobian.T @ np.linalg.solve(gram, twist - jacobian @ posture)
    return step
