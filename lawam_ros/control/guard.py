"""The last look at a command: it only verifies, it never modifies."""

import numpy as np

from lawam_ros.contract.robot import JointLimits
from lawam_ros.control.limiter import JointState

_TOLERANCE = 1e-6


def guard(state: JointState, previous: JointState, limits: JointLimits, dt_s: float) -> str | None:
    """None when the command may go out, else what is wrong: ``non_finite``, ``position``, ``velocity``, ``acceleration``, ``jerk``."""
    both = np.concatenate([state.position, state.velocity, state.acceleration])
    if not np.isfinite(both).all():
        return "non_finite"
    if (state.position > limits.upper_rad + _TOLERANCE).any() or (state.position < limits.lower_rad - _TOLERANCE).any():
        return "position"
    share = 1.0 + _TOLERANCE
    if (np.abs(state.velocity) > limits.velocity_rad_s * share).any():
        return "velocity"
    if (np.abs(state.acceleration) > limits.acceleration_rad_s2 * share).any():
        return "acceleration"
    if (np.abs(state.acceleration - previous.acceleration) > limits.jerk_rad_s3 * (dt_s * share)).any():
        return "jerk"
    return None
