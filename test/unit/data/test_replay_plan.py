"""What a replay does and when: episodes, what the operator did, and the looks of the policy."""

from dataclasses import replace

import numpy as np

from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.wire import ExecutorStatus
from lawam_ros.data.recorded_run import RecordedRun
from lawam_ros.data.replay_plan import ESTOP, HOLD, INSTRUCTION, RESET, STOP, OperatorEvent, episodes_of, first_uses, gaps_of, looks_of

MS = 1_000_000
S = 1000 * MS


def status(stamp_ms: int, state: str = "RUN", reason: str = "", epoch: int = 1, instruction: str = "put") -> ExecutorStatus:
    return ExecutorStatus(stamp_ms * MS, state, reason, 0, epoch, 0, instruction, "measured", 0, 0, 0, "")


def chunk(stamp_ms: float, sequence: int = 1) -> ActionChunk:
    return ActionChunk(round(stamp_ms * MS), "base", (), np.zeros((1, 0)), np.zeros(1), sequence, 1, 0)


def recorded(statuses=(), chunks=(), info=None, **stamps_ms) -> RecordedRun:
    stamps_ms = stamps_ms or {"front": range(0, 5000, 50), "joint_states": range(0, 5000, 8)}
    stamps = {name: np.array([round(s * MS) for s in values], dtype=np.int64) for name, values in stamps_ms.items()}
    return RecordedRun(info or {}, stamps, tuple(chunks), (), tuple(statuses), None, ())


def test_an_episode_lasts_from_activation_to_deactivation():
    run = recorded(
        [
            status(0, "INACTIVE"),
            status(100, "HOLD", "waiting_for_chunk"),
            status(1000),
            status(2000, "HOLD", "deactivating"),
            status(2100, "INACTIVE"),
            status(3000, "HOLD", "waiting_for_chunk", epoch=2, instruction="fold"),
            status(4000),
        ]
    )
    assert [(e.start_ns // MS, e.end_ns // MS, e.instruction) for e in episodes_of(run)] == [(100, 2000, "put"), (3000, 4000, "fold")]


def test_a_recording_of_other_software_is_one_episode_as_far_as_its_inputs_reach():
    (episode,) = episodes_of(recorded(front=range(500, 3000, 50), joint_states=range(0, 2900, 8)))
    assert (episode.start_ns // MS, episode.end_ns // MS, episode.events) == (500, 2950, ())
    assert episodes_of(recorded(front=[], joint_states=range(10))) == []


def test_a_long_gap_ends_an_episode():
    front = [*range(0, 1000, 50), *range(60_000, 61_000, 50)]
    joints = [*range(0, 1000, 8), *range(60_000, 61_000, 8)]
    spans = [(e.start_ns // MS, e.end_ns // MS) for e in episodes_of(recorded(front=front, joint_states=joints))]
    assert spans == [(0, 992), (60_000, 60_992)]


def test_behind_a_gap_an_episode_begins_when_every_stream_is_back():
    """The executor is not activated on joint states of before the gap."""
    front = [*range(0, 1000, 50), *range(60_000, 61_000, 50)]
    spans = [
        (e.start_ns // MS, e.end_ns // MS)
        for e in episodes_of(recorded(front=front, joint_states=[*range(0, 1000, 8), *range(60_044, 61_000, 8)]))
    ]
    assert spans == [(0, 992), (60_044, 60_996)]
    assert [e.end_ns // MS for e in episodes_of(recorded(front=front, joint_states=range(0, 1000, 8)))] == [992]


def test_silence_of_one_stream_within_an_episode_is_told():
    run = recorded(front=[*range(0, 1000, 50), *range(1600, 3000, 50)], joint_states=range(0, 3000, 8))
    assert gaps_of(run, episodes_of(run)) == ["front: nothing for 0.65 s within an episode"]


def test_what_the_operator_did_is_read_from_the_state_of_the_executor():
    run = recorded(
        [
            status(0, "HOLD", "waiting_for_chunk"),
            status(100),
            status(200, "HOLD", "requested"),
            status(300, "HOLD", "waiting_for_chunk", epoch=2),
            status(400, epoch=2),
            status(500, "STOP", "requested", epoch=2),
            status(510, "LATCHED", "requested", epoch=2),
            status(600, "HOLD", "waiting_for_chunk", epoch=3),
            status(700, epoch=4, instruction="fold"),
            status(800, "STOP", "estop", epoch=4, instruction="fold"),
            status(900, "STOP", "joint_states_lost", epoch=4, instruction="fold"),
        ]
    )
    (episode,) = episodes_of(run)
    assert episode.events == (
        OperatorEvent(200 * MS, HOLD),
        OperatorEvent(300 * MS, RESET),
        OperatorEvent(500 * MS, STOP),
        OperatorEvent(600 * MS, RESET),
        OperatorEvent(700 * MS, INSTRUCTION, "fold"),
        OperatorEvent(800 * MS, ESTOP),
    )
    assert [(at // MS, why) for at, why in episode.stops] == [(500, "requested"), (800, "estop")]
    # What it waited for at the start is no hold.
    assert [(at // MS, why) for at, why in episode.holds] == [(200, "requested"), (300, "waiting_for_chunk"), (600, "waiting_for_chunk")]


def test_what_is_told_after_a_tick_with_its_stamp_happened_before_the_next_one():
    run = recorded([status(0), status(100), status(100, "STOP", "requested"), status(104, "STOP", "requested")])
    (episode,) = episodes_of(run)
    assert episode.events == (OperatorEvent(100 * MS + 1, STOP),)


def test_in_lock_step_a_look_is_at_its_frame():
    run = recorded(chunks=[chunk(100), chunk(500, 2)], info={"lockstep": True})
    assert [(look.frame_ns // MS, look.observation_ns // MS, look.due_ns // MS) for look in looks_of(run, "front")] == [
        (100, 100, 100),
        (500, 500, 500),
    ]


def test_in_real_time_a_frame_is_held_back_until_everything_of_its_observation_is_there():
    run = recorded(front=range(0, 2000, 50), wrist=range(20, 2000, 50), joint_states=range(3, 2000, 8), chunks=[chunk(500), chunk(820, 2)])
    first, second = looks_of(run, "front")
    # The slower camera had nothing newer than 470 when the frame of 500 came; its next one came at 520.
    assert (first.frame_ns // MS, first.observation_ns // MS, first.due_ns // MS) == (500, 500, 520)
    # The reference time is the wrist's: the observation is complete with the next frame in front.
    assert (second.frame_ns // MS, second.observation_ns // MS) == (850, 820)


def test_in_lock_step_looks_whose_image_was_lost_are_left_out():
    wrist = [stamp for stamp in range(0, 2000, 50) if not 400 < stamp < 700]
    stamps = {"front": range(0, 2000, 50), "wrist": wrist, "joint_states": range(0, 2000, 8)}
    run = recorded(chunks=[chunk(stamp) for stamp in (400, 600, 700)], info={"lockstep": True}, **stamps)
    assert [look.observation_ns // MS for look in looks_of(run, "front")] == [400, 700]


def test_a_look_tells_when_its_chunk_was_used():
    """By epoch and number: the policy that was started again counts anew, and the third chunk was refused."""
    statuses = [
        replace(status(stamp_ms, epoch=epoch), accepted_sequence=sequence)
        for stamp_ms, epoch, sequence in ((0, 1, 0), (180, 1, 1), (280, 1, 1), (700, 2, 0), (1000, 2, 1))
    ]
    chunks = [chunk(100), replace(chunk(900), epoch=2), chunk(500, 2)]
    assert first_uses(chunks, statuses) == {100 * MS: 180 * MS, 900 * MS: 1000 * MS}
    assert [look.used_ns for look in looks_of(recorded(statuses, chunks), "front")] == [180 * MS, None, 1000 * MS]


def test_looks_beyond_the_end_of_the_recording_are_left_out():
    run = recorded(front=range(0, 500, 50), joint_states=range(0, 400, 8), chunks=[chunk(450), chunk(100, 2)])
    assert [look.observation_ns // MS for look in looks_of(run, "front")] == [100]
    assert looks_of(replace(run, chunks=()), "front") == []
