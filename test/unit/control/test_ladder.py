import pytest

from lawam_ros.control.ladder import LATCHING_REASONS, PASSING_REASONS, TRANSITIONS, Event, Rung, State, answer, climb


def test_only_an_activation_leaves_inactive_and_only_reset_or_deactivation_leaves_latched():
    assert {event for state, event in TRANSITIONS if state == State.INACTIVE} == {Event.ACTIVATE}
    assert {event for state, event in TRANSITIONS if state == State.LATCHED} == {Event.RESET, Event.DEACTIVATED}
    assert {event for state, event in TRANSITIONS if state == State.STOP} == {Event.STOPPED, Event.DEACTIVATED}


@pytest.mark.parametrize("state", [State.INACTIVE, State.STOP, State.LATCHED])
def test_a_chunk_moves_nothing_on_the_upper_rungs(state):
    assert climb(Rung(state, "why"), Event.CHUNK) == Rung(state, "why")


def test_a_chunk_ends_a_passing_hold_and_no_other():
    for reason in PASSING_REASONS:
        assert climb(Rung(State.HOLD, reason), Event.CHUNK) == Rung(State.RUN)
    for reason in ("operator", *LATCHING_REASONS):
        assert climb(Rung(State.HOLD, reason), Event.CHUNK) == Rung(State.HOLD, reason)


def test_the_first_reason_stays_except_for_a_passing_one():
    hold = climb(Rung(State.RUN), Event.HOLD, "plan_ended")
    hold = climb(hold, Event.HOLD, "waiting_for_chunk")
    assert hold.reason == "plan_ended"
    hold = climb(hold, Event.HOLD, "operator")
    assert climb(hold, Event.HOLD, "policy_lost").reason == "operator"
    stop = climb(hold, Event.STOP, "estop")
    assert climb(stop, Event.STOP, "joint_states_lost") == Rung(State.STOP, "estop")
    assert climb(stop, Event.HOLD, "operator") == stop
    latched = climb(stop, Event.STOPPED)
    assert latched == Rung(State.LATCHED, "estop")
    assert climb(latched, Event.RESET, "waiting_for_chunk") == Rung(State.HOLD, "waiting_for_chunk")


def test_who_asks_for_a_hold_or_a_stop_hears_what_comes_of_it():
    def asked(rung, event):
        return answer(climb(rung, event, "requested"))

    for event in (Event.HOLD, Event.STOP):
        kept, sentence = asked(Rung(), event)
        assert not kept and sentence.startswith("INACTIVE: nothing moves")
        assert asked(Rung(State.LATCHED, "estop"), event) == (True, "LATCHED(estop): at rest until chunk_executor/reset")
        assert asked(Rung(State.STOP, "estop"), event)[1].startswith("STOP(estop): braking as hard as the limits allow, then LATCHED")
        assert asked(Rung(State.RUN), event)[1].startswith(f"{event.name}(requested): braking")
    assert asked(Rung(State.HOLD, "waiting_for_chunk"), Event.HOLD)[1].startswith("HOLD(requested): ")
    assert asked(Rung(State.HOLD, "deactivating"), Event.HOLD) == (True, "HOLD(deactivating): braking, then INACTIVE")
