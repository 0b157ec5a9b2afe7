"""Which acceleration a joint should have next to reach a moving target: the wish that the limiter then cuts to what is allowed.

Two ways behind one call: the limiter's own law, smooth where it follows closely, and the optional library ruckig, time-optimal from far
away. Near by the own law takes over: of a way of two ticks, of which the library brakes in the second, only the acceleration between them
is seen here, and that is none, so that a joint would rest off its target. The guarantees are the limiter's and do not depend on the choice.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import EnvironmentLacks
from lawam_ros.contract.robot import JointLimits

Array = NDArray[np.float64]
Follower = Callable[[Array, Array, Array, Array, Array, Array], Array | None]
"""(position, velocity, acceleration now; position, velocity, acceleration of the target) to accelerations at the end of the tick, (n,)
each, NaN for joints, or None for all, which it leaves to the limiter's own law."""

_WITHIN = 0.999
_NEAR_TICKS = 8


def ruckig_follower(limits: JointLimits, dt_s: float) -> Follower:
    """Jerk-limited time-optimal retargeting of every joint by itself. Raises EnvironmentLacks without ruckig."""
    if importlib.util.find_spec("ruckig") is None:
        raise EnvironmentLacks("follower: ruckig needs the library ruckig; install it (pip install ruckig) or set follower: own")
    ruckig: Any = importlib.import_module("ruckig")
    n = len(limits.lower_rad)
    generator, output = ruckig.Ruckig(n, dt_s), ruckig.OutputParameter(n)
    wish = ruckig.InputParameter(n)
    wish.synchronization = ruckig.Synchronization.No
    wish.max_velocity = limits.velocity_rad_s.tolist()
    wish.max_acceleration = limits.acceleration_rad_s2.tolist()
    wish.max_jerk = limits.jerk_rad_s3.tolist()
    top, most = _WITHIN * limits.velocity_rad_s, _WITHIN * limits.acceleration_rad_s2

    def follow(q: Array, v: Array, a: Array, goal: Array, goal_velocity: Array, goal_acceleration: Array) -> Array | None:
        wish.current_position, wish.current_velocity, wish.current_acceleration = q.tolist(), v.tolist(), a.tolist()
        # Where the target will be a tick later: else a moving one would be followed a tick behind.
        wish.target_position = np.clip(goal + goal_velocity * dt_s, limits.lower_rad, limits.upper_rad).tolist()
        wish.target_velocity = np.clip(goal_velocity, -top, top).tolist()
        wish.target_acceleration = np.clip(goal_acceleration, -most, most).tolist()
        try:
            result = generator.update(wish, output)
        except ruckig.RuckigError:
            # It finds no way in some corners; the limiter's own law has one everywhere.
            return None
        if result not in (ruckig.Result.Working, ruckig.Result.Finished):
            return None
        near = np.array(output.trajectory.independent_min_durations) < _NEAR_TICKS * dt_s
        return np.where(near, np.nan, output.new_acceleration)

    return follow
