"""The operator's switches: a dead-man that must be held, an emergency stop that must not be pressed, both of which must keep talking."""

import math

from lawam_ros.contract.robot import Safety

ESTOP = "estop"
ESTOP_LOST = "estop_lost"
DEADMAN_RELEASED = "deadman_released"
DEADMAN_LOST = "deadman_lost"


class OperatorInputs:
    """Last word of each switch and when it came (int ns on the executor's clock, time of arrival: Bool has no stamp).

    A dead-man that is not required is not read at all. A pressed emergency stop always counts; its silence only where it is required.
    """

    def __init__(self, safety: Safety) -> None:
        self._safety = safety
        self._deadman_held = False
        self._deadman_ns: int | None = None
        self._estop_pressed = False
        self._estop_ns: int | None = None

    def deadman(self, held: bool, now_ns: int) -> None:
        self._deadman_held, self._deadman_ns = held, now_ns

    def estop(self, pressed: bool, now_ns: int) -> None:
        self._estop_pressed, self._estop_ns = pressed, now_ns

    def said(self) -> str:
        """Reason to stop in what the switches last said, empty when there is none."""
        if self._estop_pressed:
            return ESTOP
        if self._safety.deadman_required and self._deadman_ns is not None and not self._deadman_held:
            return DEADMAN_RELEASED
        return ""

    def silent(self, now_ns: int) -> str:
        """Reason to stop in what a required switch has not said for too long, empty when there is none."""
        if self._safety.estop_required and _age_s(self._estop_ns, now_ns) > self._safety.max_age_s:
            return ESTOP_LOST
        if self._safety.deadman_required and _age_s(self._deadman_ns, now_ns) > self._safety.max_age_s:
            return DEADMAN_LOST
        return ""

    def problem(self, now_ns: int) -> str:
        """Why motion must not start, in a sentence; empty when it may."""
        budget_s = self._safety.max_age_s
        return {
            "": "",
            ESTOP: "expected a released emergency stop, lawam/estop says it is pressed; release it",
            DEADMAN_RELEASED: "expected a held dead-man switch, lawam/deadman says it is released; hold it",
            ESTOP_LOST: f"expected lawam/estop at least every {budget_s:g} s, {_heard(self._estop_ns, now_ns)}; check its publisher",
            DEADMAN_LOST: f"expected lawam/deadman at least every {budget_s:g} s, {_heard(self._deadman_ns, now_ns)}; check its publisher",
        }[self.said() or self.silent(now_ns)]


def _age_s(heard_ns: int | None, now_ns: int) -> float:
    return math.inf if heard_ns is None else (now_ns - heard_ns) * 1e-9


def _heard(heard_ns: int | None, now_ns: int) -> str:
    return "none came" if heard_ns is None else f"the last came {_age_s(heard_ns, now_ns):.2f} s ago"
