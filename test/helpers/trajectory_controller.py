"""A stand-in of joint_trajectory_controller (ros2_controllers 4): what it makes of windows of stamped points.

A new trajectory replaces the old one at the next update. Before its first point the way leads there from what was desired at that update
(``interpolate_from_desired_state``); elapsed points are skipped; behind the last point it stands there. Between points: quintics.
"""

import numpy as np


class TrajectoryController:
    """Times in int ns of one clock, joints in rad."""

    def __init__(self, positions):
        zero = np.zeros_like(positions)
        self.desired = (np.array(positions, dtype=float), zero, zero)
        self._before = (0, self.desired)
        self._points = None
        self._waiting = None

    def take(self, stamps_ns, positions, velocities, accelerations):
        """A message has arrived. The points are checked as the controller does."""
        stamps = [int(stamp) for stamp in stamps_ns]
        assert stamps == sorted(set(stamps))
        assert not np.any(velocities[-1]), "the last point must be at rest"
        self._waiting = (stamps, list(zip(positions, velocities, accelerations, strict=True)))

    def update(self, now_ns):
        """Desired positions, velocities, accelerations of one cycle."""
        if self._waiting is not None and self._waiting[0][-1] >= now_ns:
            self._before, self._points = (now_ns, self.desired), self._waiting
        self._waiting = None
        if self._points is None:
            return self.desired
        stamps, states = self._points
        k = int(np.searchsorted(stamps, now_ns, side="right"))
        if k == len(stamps):
            self.desired = (states[-1][0], np.zeros_like(states[-1][0]), np.zeros_like(states[-1][0]))
        elif k == 0:
            self.desired = quintic(*self._before, stamps[0], states[0], now_ns)
        else:
            self.desired = quintic(stamps[k - 1], states[k - 1], stamps[k], states[k], now_ns)
        return self.desired


def quintic(from_ns, start, to_ns, end, now_ns):
    """The polynomial of fifth order through two states, at a time between them."""
    duration = (to_ns - from_ns) * 1e-9
    t = (now_ns - from_ns) * 1e-9
    (q0, v0, a0), (q1, v1, a1) = start, end
    rows = np.array([[1, 1, 1], [3, 4, 5], [6, 12, 20]], dtype=float)
    scaled = [
        q1 - q0 - v0 * duration - 0.5 * a0 * duration**2,
        (v1 - v0 - a0 * duration) * duration,
        (a1 - a0) * duration**2,
    ]
    c3, c4, c5 = np.linalg.solve(rows, np.array(scaled))
    u = t / duration
    position = q0 + v0 * t + 0.5 * a0 * t**2 + c3 * u**3 + c4 * u**4 + c5 * u**5
    velocity = v0 + a0 * t + (3 * c3 * u**2 + 4 * c4 * u**3 + 5 * c5 * u**4) / duration
    acceleration = a0 + (6 * c3 * u + 12 * c4 * u**2 + 20 * c5 * u**3) / duration**2
    return position, velocity, acceleration
