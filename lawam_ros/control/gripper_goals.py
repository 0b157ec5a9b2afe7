"""From the commanded opening, which changes with every tick, to the few goals that a gripper with actions can take.

A gripper closes until something is between its fingers, or opens all the way; between the two thresholds it stays as it is. One goal at a
time, each sent again once when it fails.
"""

from dataclasses import dataclass

from lawam_ros.contract.real import RealGripper

_OPEN_M = 0.005


@dataclass(frozen=True, eq=False)
class GripperGoal:
    """closing: grasp what is there; else open to ``opening_m``. Two equal goals are two goals."""

    closing: bool
    opening_m: float


@dataclass(frozen=True)
class CancelGoal:
    """The outstanding goal is to be cancelled."""

    goal: GripperGoal


class GripperGoals:
    """Decides; sending is the caller's. Times are int ns on one clock. ``trouble``: what went wrong last, empty when all is well."""

    def __init__(self, gripper: RealGripper, opening_max_m: float) -> None:
        self._gripper = gripper
        self._opening_max_m = opening_max_m
        self._begun = False
        self._wish: bool | None = None
        self._wished_ns = 0
        self._told: bool | None = None
        self._goal: GripperGoal | None = None
        self._sent_ns = 0
        self._cancelling = False
        self._failures = 0
        self.trouble = ""

    def wanted(self, opening_m: float, now_ns: int) -> GripperGoal | CancelGoal | None:
        """What to do about the opening that is commanded now. Not to be called while the arm is held: nobody wants anything then."""
        if not self._begun and opening_m > self._opening_max_m - _OPEN_M:
            self._told = False  # found open: the first opening to be commanded is the measured one
        self._begun = True
        self._note_wish(opening_m, now_ns)
        if self._goal is not None:
            return self._about(self._goal, now_ns)
        if not self._settled(now_ns) or self._wish is None or self._wish == self._told:
            return None
        self._goal = GripperGoal(self._wish, 0.0 if self._wish else self._opening_max_m)
        self._sent_ns, self._cancelling, self._told = now_ns, False, None
        return self._goal

    def waiting(self, now_ns: int) -> CancelGoal | None:
        """As ``wanted`` while the arm is held: only an outstanding goal is looked after."""
        return self._about(self._goal, now_ns) if self._goal is not None and self._late(now_ns) else None

    def finished(self, goal: GripperGoal, reached: bool, opening_m: float) -> None:
        """The gripper's answer, refusals included; opening_m: measured. Of a goal that was given up it is not heard.

        A grasp that the gripper calls failed has closed on something of another size: what counts is that it is no longer open.
        """
        if goal is not self._goal:
            return
        if self._cancelling:
            self._goal = None
        elif reached or (goal.closing and opening_m < self._gripper.open_above_m):
            self._done(goal)
        else:
            self._failed(goal, f"it did not, the opening is {opening_m:.3f} m")

    def _about(self, goal: GripperGoal, now_ns: int) -> CancelGoal | None:
        if self._late(now_ns):
            self._failed(goal, f"no result came within {self._gripper.timeout_s:g} s")
            return CancelGoal(goal)
        if not self._cancelling and self._wish != goal.closing and self._settled(now_ns):
            self._cancelling = True
            return CancelGoal(goal)
        return None

    def _late(self, now_ns: int) -> bool:
        return now_ns - self._sent_ns > self._gripper.timeout_s * 1e9

    def _note_wish(self, opening_m: float, now_ns: int) -> None:
        wish = self._wish
        if opening_m < self._gripper.close_below_m:
            wish = True
        elif opening_m > self._gripper.open_above_m:
            wish = False
        if wish != self._wish:
            self._wish, self._wished_ns = wish, now_ns
            self._failures = 0

    def _settled(self, now_ns: int) -> bool:
        return now_ns - self._wished_ns >= self._gripper.settle_s * 1e9

    def _done(self, goal: GripperGoal) -> None:
        self._told, self._goal = goal.closing, None
        self._failures, self.trouble = 0, ""

    def _failed(self, goal: GripperGoal, what: str) -> None:
        self._failures += 1
        self._goal = None
        again = self._failures == 1
        self.trouble = (
            f"gripper: expected it to {'close' if goal.closing else 'open'}, {what}; {'trying once more' if again else 'given up'}"
        )
        if not again:
            self._told = goal.closing
