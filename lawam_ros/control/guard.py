"""The last look at a command: it only verifies, it never modifies."""

import numpy as np

from lawam_ros.contract.robot import JointLimits, VelocityEnvelope
from lawam_ros.control.limiter import JointState

_TOLERANCE = 1e-6


class Guard:
    """``guard`` for every tick of one robot: one comparison with bounds that are worked out once; only a failure is looked at closely."""

    def __init__(self, limits: JointLimits, dt_s: float) -> None:
        self._limits = limits
        self._dt_s = dt_s
        share = 1.0 + _TOLERANCE
        derivatives = [limits.velocity_rad_s * share, limits.acceleration_rad_s2 * share, limits.jerk_rad_s3 * (dt_s * share)]
        self._highest = np.concatenate([limits.upper_rad + _TOLERANCE, *derivatives])
        self._lowest = np.concatenate([limits.lower_rad - _TOLERANCE, *(-bound for bound in derivatives)])

    def failure(self, state: JointState, previous: JointState) -> str | None:
        """What is wrong with a command, None if nothing."""
        values = np.concatenate([state.position, state.velocity, state.acceleration, state.acceleration - previous.acceleration])
        # A value that is not a number is not within bounds either.
        within = (values <= self._highest) & (values >= self._lowest)
        if np.count_nonzero(within) == len(within) and (self._limits.envelope is None or _within_envelope(state, self._limits.envelope)):
            return None
        return guard(state, previous, self._limits, self._dt_s) or "non_finite"


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
    if limits.envelope is not None and not _within_envelope(state, limits.envelope):
        return "velocity"
    if (np.abs(state.acceleration) > limits.acceleration_rad_s2 * share).any():
        return "acceleration"
    if (np.abs(state.acceleration - previous.acceleration) > limits.jerk_rad_s3 * (dt_s * share)).any():
        return "jerk"
    return None


def _within_envelope(state: JointState, envelope: VelocityEnvelope) -> bool:
    velocity = state.velocity
    upwards, downwards = envelope.upwards(state.position) + _TOLERANCE, envelope.downwards(state.position) + _TOLERANCE
    return bool(((velocity <= upwards) & (velocity >= -downwards)).all())
