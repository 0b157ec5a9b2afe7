"""The stop ladder: RUN, HOLD, STOP, LATCHED, upwards at any time, downwards only by rule, as a table."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    INACTIVE = "INACTIVE"
    RUN = "RUN"
    HOLD = "HOLD"
    STOP = "STOP"
    LATCHED = "LATCHED"


class Event(StrEnum):
    ACTIVATE = "activate"
    CHUNK = "chunk released"
    HOLD = "hold"
    STOP = "stop"
    STOPPED = "at rest after a stop"
    LATCH = "at rest after a hold that needs a reset"
    RESET = "reset"
    DEACTIVATED = "at rest after deactivation"


WAITING = "waiting_for_chunk"
PLAN_ENDED = "plan_ended"
CLOCK_JUMPED = "clock_jumped"
IK_ERROR = "ik_error"
BEYOND_LIMITS = "beyond_limits"
POLICY_LOST = "policy_lost"
TRACKING_ERROR = "tracking_error"
DEACTIVATING = "deactivating"
COMMANDS_LATE = "commands_late"

PASSING_REASONS = frozenset({WAITING, PLAN_ENDED, CLOCK_JUMPED, IK_ERROR, BEYOND_LIMITS})
"""Reasons of a HOLD that are gone when the next chunk is released; every other reason stays until it is released or reset."""

LATCHING_REASONS = frozenset({POLICY_LOST})
"""Reasons of a HOLD that become LATCHED at rest."""

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.INACTIVE, Event.ACTIVATE): State.HOLD,
    (State.RUN, Event.CHUNK): State.RUN,
    (State.HOLD, Event.CHUNK): State.RUN,
    (State.RUN, Event.HOLD): State.HOLD,
    (State.HOLD, Event.HOLD): State.HOLD,
    (State.RUN, Event.STOP): State.STOP,
    (State.HOLD, Event.STOP): State.STOP,
    (State.STOP, Event.STOPPED): State.LATCHED,
    (State.HOLD, Event.LATCH): State.LATCHED,
    (State.LATCHED, Event.RESET): State.HOLD,
    (State.HOLD, Event.RESET): State.HOLD,
    (State.HOLD, Event.DEACTIVATED): State.INACTIVE,
    (State.STOP, Event.DEACTIVATED): State.INACTIVE,
    (State.LATCHED, Event.DEACTIVATED): State.INACTIVE,
}
"""Pairs that are not listed change nothing."""


@dataclass(frozen=True)
class Rung:
    """Where on the ladder, and why; the reason is of the first who asked for this rung."""

    state: State = State.INACTIVE
    reason: str = ""


def climb(rung: Rung, event: Event, reason: str = "") -> Rung:
    """The rung after an event.

    First writer wins: a second reason for the same rung is dropped, except that a lasting one replaces a passing one.
    """
    state = TRANSITIONS.get((rung.state, event))
    if state is None:
        return rung
    if event == Event.CHUNK:
        return rung if rung.state == State.HOLD and rung.reason not in PASSING_REASONS else Rung(state)
    if event in (Event.STOPPED, Event.LATCH):
        return Rung(state, rung.reason)
    if event == Event.HOLD and rung.state == State.HOLD and (rung.reason not in PASSING_REASONS or reason in PASSING_REASONS):
        return rung
    return Rung(state, reason)


_AHEAD = {
    State.HOLD: "braking on the path or at rest; until chunk_executor/reset no chunk moves the arm",
    State.STOP: "braking as hard as the limits allow, then LATCHED until chunk_executor/reset",
    State.LATCHED: "at rest until chunk_executor/reset",
}


def answer(rung: Rung) -> tuple[bool, str]:
    """What somebody who asked for a hold or a stop is told: whether it is kept, and what happens. rung: after the request.

    An inactive executor keeps no request: an activation would move the arm in spite of it.
    """
    if rung.state == State.INACTIVE:
        return False, "INACTIVE: nothing moves, and nothing will before an activation, which this request does not hinder"
    where = f"{rung.state}({rung.reason})"
    if rung.reason == DEACTIVATING:
        return True, f"{where}: braking, then INACTIVE"
    return True, f"{where}: {_AHEAD[rung.state]}"
