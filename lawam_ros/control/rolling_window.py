"""What a trajectory controller is sent: a stamped window of promised commands that always ends in the shortest stop.

The executor works ``lead_ns`` ahead of time. Its commands up to there are final, so consecutive windows agree wherever they overlap; behind
them each window holds the way to rest from its last command. Silence of ours is therefore a stop within the limits.

A window may be lost. So after a stall of ours nobody knows which of the last two windows the controller follows; while both still promise
the same commands that is no matter, later the arm is left to the stop that it is in, until it is started anew.

Points lie a tick apart, and within a tick the executor's motion is a cubic: a controller that interpolates position, velocity and
acceleration by quintics (joint_trajectory_controller) follows it exactly.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.real import WindowTiming
from lawam_ros.control.limiter import JointState

Array = NDArray[np.float64]
Rows = tuple[Array, Array, Array]
"""Positions (rad), velocities (rad/s) and accelerations (rad/s2), (K, n) each."""


_FOLLOWED = 2
"""Of the windows sent last, the controller follows one: as many as may be lost in a row, and one more."""


@dataclass(frozen=True)
class Window:
    """Points ``period_ns`` apart from ``stamp_ns`` (int ns, the executor's clock) on; the last one is at rest. (K, n) each, K >= 1.

    promised: how many of the points are final; the others are the way to rest.
    """

    stamp_ns: int
    period_ns: int
    positions_rad: Array
    velocities_rad_s: Array
    accelerations_rad_s2: Array
    promised: int

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        return self.stamp_ns + self.period_ns * np.arange(len(self.positions_rad), dtype=np.int64)

    def state(self, k: int) -> JointState:
        return JointState(self.positions_rad[k], self.velocities_rad_s[k], self.accelerations_rad_s2[k])


@dataclass(frozen=True)
class Kept:
    """The command from which the executor has to go on. moving: what it had planned since was more than standing."""

    stamp_ns: int
    state: JointState
    moving: bool


class RollingWindow:
    """Promised commands and the window sent last. Times are int ns on the executor's clock."""

    def __init__(self, timing: WindowTiming, period_ns: int) -> None:
        self.lead_ns = timing.lead_ns
        self._transport_ns = timing.transport_ns
        self._every_ns = timing.every_ns
        self._period_ns = period_ns
        self._promised: deque[tuple[int, JointState]] = deque()
        self._sent: deque[Window] = deque(maxlen=_FOLLOWED)
        self._due_ns = 0
        self._insist_until_ns = 0
        self._rests: list[Array] = []  # ends of the windows that a controller may be in; it is left alone while there are any

    def restart(self, stamp_ns: int, state: JointState) -> None:
        """The first command is ``state``, at rest, where the controller stands: as good as sent."""
        self._promised = deque([(stamp_ns, state)])
        at_rest = Window(stamp_ns, self._period_ns, state.position[None], state.velocity[None], state.acceleration[None], promised=1)
        self._sent = deque([at_rest], maxlen=_FOLLOWED)
        self._due_ns = self._insist_until_ns = 0
        self._rests = []

    def silence(self) -> None:
        """Windows are not sent at present, so that nothing is promised beyond the last command."""
        self._sent.clear()

    def promise(self, stamp_ns: int, state: JointState) -> None:
        """The next command, one period after the last."""
        self._promised.append((stamp_ns, state))

    def commanded(self, now_ns: int) -> JointState:
        """The command that is meant for now (the first one before it is due); older ones are forgotten."""
        while len(self._promised) > 1 and self._promised[1][0] <= now_ns:
            self._promised.popleft()
        return self._promised[0][1]

    def next_window(self, now_ns: int, way_to_rest: Callable[[], Rows]) -> Window | None:
        """The window to be sent now, None until the next one is due. way_to_rest: from the newest promised command on."""
        if self._rests or self._insist_until_ns <= now_ns < self._due_ns:
            return None
        self._due_ns = max(self._due_ns + self._every_ns, now_ns + self._every_ns // 2)
        # From now on: points that elapse on the way are skipped by the controller, which then reads the very motion it is in.
        own = [entry for entry in self._promised if entry[0] >= now_ns] or [self._promised[-1]]
        states = [state for _, state in own]
        if all(_same(state, states[-1]) for state in states):
            states = states[-1:]
        rest = way_to_rest()
        window = Window(
            stamp_ns=own[-1][0] - (len(states) - 1) * self._period_ns,
            period_ns=self._period_ns,
            positions_rad=np.vstack([*(state.position for state in states), rest[0]]),
            velocities_rad_s=np.vstack([*(state.velocity for state in states), rest[1]]),
            accelerations_rad_s2=np.vstack([*(state.acceleration for state in states), rest[2]]),
            promised=len(states),
        )
        self._sent.append(window)
        return window

    def overtaken(self, now_ns: int) -> Kept | None:
        """Where the controller is taken to get to, if the promises it follows may end before a new window arrives.

        Moving, it is sent nothing any more until ``restart``: it may have braked from earlier on.
        """
        if not self._sent or all(now_ns + self._transport_ns <= self._end_ns(sent) for sent in self._sent):
            return None
        sent = self._sent[-1]
        end_ns = self._end_ns(sent)
        ticks = -(-(now_ns + self.lead_ns - end_ns) // self._period_ns)
        standing = self._promised[-1][1]
        moving = any(len(one.positions_rad) > one.promised or not _same(one.state(-1), standing) for one in self._sent)
        self._promised = deque(entry for entry in self._promised if entry[0] <= end_ns)
        last = len(sent.positions_rad) - 1
        for k in range(max(1, ticks - self.lead_ns // self._period_ns), ticks + 1):
            self._promised.append((end_ns + k * self._period_ns, sent.state(min(sent.promised - 1 + k, last))))
        self._rests = [one.positions_rad[-1] for one in self._sent] if moving else []
        self._sent.clear()
        return self._kept(moving)

    def revoked(self, now_ns: int) -> Kept | None:
        """The first promise that can still be taken back; those after it are. None where the controller is left alone.

        Windows are due at every tick until then: should one be lost, the next still comes before the ways part.
        """
        if self._rests:
            return None
        first_ns = self._insist_until_ns = now_ns + self._transport_ns
        while len(self._promised) > 1 and self._promised[-2][0] >= first_ns:
            self._promised.pop()
        return self._kept(moving=True)

    def rest_nearest(self, place_rad: Array, otherwise_rad: Array) -> Array:
        """Where a controller that is left alone comes to rest: the nearest end of its windows; otherwise_rad where it is not left alone."""
        return min(self._rests, key=lambda rest: float(np.abs(rest - place_rad).max()), default=otherwise_rad)

    def _end_ns(self, window: Window) -> int:
        """When its last promise is due."""
        return window.stamp_ns + (window.promised - 1) * self._period_ns

    def _kept(self, moving: bool) -> Kept:
        stamp_ns, state = self._promised[-1]
        return Kept(stamp_ns, state, moving)


def _same(one: JointState, other: JointState) -> bool:
    """Both at rest in the same place."""
    moving = any(values.any() for values in (one.velocity, one.acceleration, other.velocity, other.acceleration))
    return not moving and bool(np.array_equal(one.position, other.position))
