"""Lock step in a replay: the looks of the recording, and observations that a slower camera decides on."""

from lawam_ros.control.lock_step import FAILED, INFER, LookRule, PlannedLooks, TimeGate

MS = 1_000_000


def test_only_planned_frames_are_looked_at_and_only_when_chunks_are_wanted():
    looks = PlannedLooks(LookRule(100 * MS, 400 * MS))
    looks.frames = frozenset({200 * MS, 230 * MS})
    assert [looks.looks(frame * MS, True, 0) for frame in (100, 200, 230, 900)] == [False, True, True, False]
    assert not looks.looks(200 * MS, False, 0)
    assert not looks.looks(200 * MS, True, 200 * MS), "from before the epoch"


def test_without_a_plan_the_rule_decides():
    looks = PlannedLooks(LookRule(100 * MS, 400 * MS))
    assert [looks.looks(frame * MS, True, 0) for frame in (50, 200, 450)] == [True, False, True]


def test_time_waits_for_the_chunk_of_the_observation_not_of_the_frame():
    gate = TimeGate(100 * MS, 4 * MS)
    gate.frame(200 * MS, 180 * MS)
    gate.observed(200 * MS, INFER)
    gate.reference(276 * MS)
    gate.status(276 * MS, -1)
    assert gate.missing(276 * MS) == ["policy: the chunk of the frame 0.096 s ago"]
    gate.status(276 * MS, 180 * MS)
    assert gate.missing(276 * MS) == []


def test_a_failed_look_is_not_waited_for():
    gate = TimeGate(100 * MS, 4 * MS)
    gate.frame(200 * MS, 180 * MS)
    gate.observed(200 * MS, INFER)
    gate.observed(200 * MS, FAILED)
    gate.reference(300 * MS)
    gate.status(300 * MS, -1)
    assert gate.missing(300 * MS) == []
