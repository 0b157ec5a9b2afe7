"""Bookkeeping of lock step: nobody moves before what it needs is there, and nothing depends on the order of arrival."""

from itertools import permutations

import pytest

from lawam_ros.control.lock_step import FAILED, INFER, SKIP, LookRule, StepLedger, TimeGate

MS = 1_000_000


def test_a_step_waits_for_what_it_lists():
    ledger = StepLedger(["joints", "camera"])
    assert not ledger.complete
    ledger.announce(8 * MS, {"joints": 8 * MS, "camera": 4 * MS, "not ours": 8 * MS})
    ledger.arrived("joints", 8 * MS)
    assert not ledger.complete
    ledger.arrived("camera", 4 * MS)
    assert ledger.complete and ledger.stamp_ns == 8 * MS
    ledger.announce(12 * MS, {"joints": 12 * MS, "camera": 4 * MS})
    assert not ledger.complete
    ledger.announce(8 * MS, {})
    assert not ledger.complete and ledger.stamp_ns == 12 * MS


def test_topics_nobody_has_published_on_hold_nothing_up():
    ledger = StepLedger(["joints", "camera"])
    ledger.announce(0, {"joints": 0})
    ledger.arrived("joints", 0)
    assert ledger.complete


def test_looks_keep_the_larger_of_latency_and_replan_period():
    for latency, period in ((100, 40), (40, 100)):
        rule = LookRule(latency * MS, period * MS)
        looked = [t for t in range(1, 400, 33) if rule.looks(t * MS, True, 0)]
        assert looked == [1, 133, 265, 397]


def test_looks_of_an_epoch_do_not_wait_for_those_of_the_last():
    rule = LookRule(100 * MS, 0)
    assert rule.looks(50 * MS, True, 0)
    assert not rule.looks(60 * MS, True, 0)
    assert not rule.looks(70 * MS, True, 70 * MS)
    assert not rule.looks(75 * MS, False, 70 * MS)
    assert rule.looks(80 * MS, True, 70 * MS)


def answers(gate: TimeGate):
    """Everything step 0 needs when its frame is inferred on."""
    return (
        lambda: gate.reference(0),
        lambda: gate.status(0, -1),
        lambda: gate.observed(0, INFER),
    )


@pytest.mark.parametrize("order", permutations(range(3)))
def test_time_moves_when_all_have_answered(order):
    gate = TimeGate(latency_ns=10 * MS, period_ns=4 * MS)
    gate.frame(0)
    given = answers(gate)
    for index in order:
        assert gate.missing(0)
        given[index]()
    assert gate.missing(0) == []


def test_chunks_are_waited_for_when_they_are_due():
    gate = TimeGate(latency_ns=10 * MS, period_ns=4 * MS)
    gate.frame(0)
    for answer in answers(gate):
        answer()
    for now in (4, 8):
        gate.reference(now * MS)
        gate.status(now * MS, -1)
        assert bool(gate.missing(now * MS)) == (now == 8)
    assert gate.missing(8 * MS) == ["policy: the chunk of the frame 0.008 s ago"]
    gate.status(8 * MS, 0)
    assert gate.missing(8 * MS) == []


def test_a_chunk_that_overtakes_its_announcement_counts():
    gate = TimeGate(latency_ns=0, period_ns=4 * MS)
    gate.frame(4 * MS)
    gate.reference(4 * MS)
    gate.status(4 * MS, 4 * MS)
    gate.observed(4 * MS, INFER)
    assert gate.missing(4 * MS) == []


def test_skipped_and_failed_frames_are_not_waited_for():
    gate = TimeGate(latency_ns=0, period_ns=4 * MS)
    for stamp in (0, 4 * MS):
        gate.frame(stamp)
    gate.observed(0, SKIP)
    gate.observed(4 * MS, INFER)
    gate.observed(4 * MS, INFER)
    gate.reference(4 * MS)
    gate.status(4 * MS, -1)
    assert len(gate.missing(4 * MS)) == 1
    gate.observed(4 * MS, FAILED)
    assert gate.missing(4 * MS) == []


def test_a_new_episode_asks_anew():
    gate = TimeGate(latency_ns=0, period_ns=4 * MS)
    gate.frame(0)
    gate.frame(4 * MS)
    gate.observed(0, INFER)
    gate.forget()
    gate.reference(8 * MS)
    gate.status(8 * MS, -1)
    assert gate.missing(8 * MS) == []
