"""What a new chunk has to continue of the last one, and the estimate of how late it will be."""

from dataclasses import dataclass

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.rotations import quat_from_rotvec
from lawam_ros.policies.committed import DelayEstimate, StepGrid, committed_of, committed_part, runs
from lawam_ros.policies.interface import Targets

GRID = StepGrid(steps=6, step_s=0.1, offset_steps=1)
REFERENCE = {"arm": np.array([0, 0, 0, 0, 0, 0, 1, 0.0])}


def line(points: int) -> Targets:
    """x = t, turning about z by t, the gripper closing at the fourth point."""
    times = GRID.step_s * (np.arange(points) + 1)
    quats = np.stack([quat_from_rotvec(np.array([0, 0, t])) for t in times])
    gripper = np.where(np.arange(points) < 3, 0.08, 0.0)
    names = tuple(f"arm/{name}" for name in ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper"))
    return Targets(names, np.column_stack([times, 0 * times, 0 * times, quats, gripper]), times)


@pytest.mark.parametrize("age_s", [0.0, 0.2, 0.25])
def test_rows_are_those_of_the_same_instants(age_s):
    part = committed_part(line(6), age_s, 0.15, GRID, REFERENCE)
    expected = GRID.times_s + age_s
    expected = expected[expected <= 0.6 + 1e-9]
    rows = part.rows["arm"]
    np.testing.assert_allclose(rows[:, 0], expected, atol=1e-9)
    np.testing.assert_allclose(rows[:, 3:7], [quat_from_rotvec(np.array([0, 0, t])) for t in expected], atol=1e-9)
    assert part.reference is REFERENCE


def test_openings_are_held_not_blended():
    rows = committed_part(line(6), 0.25, 0.1, GRID, REFERENCE).rows["arm"]
    np.testing.assert_allclose(rows[:, 0], [0.35, 0.45, 0.55])
    assert rows[:, 7].tolist() == [0.08, 0.0, 0.0]


@pytest.mark.parametrize(("delay_s", "steps"), [(0.0, 0), (0.1, 1), (0.1000001, 2), (0.25, 3), (9.0, 4)])
def test_delay_counts_whole_steps_and_no_more_than_there_are(delay_s, steps):
    assert committed_part(line(6), 0.2, delay_s, GRID, REFERENCE).delay_steps == steps


def test_nothing_is_left_of_an_old_chunk():
    assert committed_part(line(6), 0.6, 0.1, GRID, REFERENCE) is None
    assert committed_part(line(1), 0.0, 0.1, GRID, REFERENCE).rows["arm"].shape == (1, 8)


def test_the_estimate_leaves_out_the_first_delay_rises_at_once_and_falls_late():
    estimate = DelayEstimate(window=3)
    estimate.add(5.0)
    assert estimate.delay_s is None
    seen = []
    for delay in (0.1, 0.3, 0.1, 0.1, 0.1):
        estimate.add(delay)
        seen.append(estimate.delay_s)
    assert seen == [0.1, 0.3, 0.3, 0.3, 0.1]


def test_what_a_chunk_really_took_replaces_what_was_expected_of_it():
    estimate = DelayEstimate()
    estimate.correct(1.0)
    estimate.add(5.0)
    estimate.correct(4.0)
    assert estimate.delay_s is None, "the cold start counts neither way"
    estimate.add(0.12)
    estimate.correct(0.09)
    assert estimate.delay_s == 0.09
    estimate.add(0.12)
    assert estimate.delay_s == 0.12
    estimate.correct(0.3)
    assert estimate.delay_s == 0.3


@dataclass(frozen=True)
class Word:
    state: str = "RUN"
    epoch: int = 3
    accepted_sequence: int | None = 7
    judged_stamp_ns: int | None = 1000


LAST = ActionChunk(1000, "base", (), np.zeros((1, 0)), np.zeros(1), sequence=7, epoch=3, contract_crc=0)


@pytest.mark.parametrize(
    ("word", "running"),
    [
        (Word(), True),
        (Word(accepted_sequence=6, judged_stamp_ns=900), True),  # not judged yet: the policy looks again at once
        (Word(accepted_sequence=None, judged_stamp_ns=None), True),
        (Word(accepted_sequence=6), False),  # judged and not accepted: refused
        (Word(epoch=4, accepted_sequence=None, judged_stamp_ns=900), False),
        (Word(state="HOLD"), False),
        (Word(state="STOP"), False),
    ],
)
def test_a_chunk_is_continued_unless_it_was_refused_or_the_epoch_or_run_has_ended(word, running):
    assert runs(LAST, word) is running


def test_the_part_of_a_chunk_is_read_by_time():
    policy = load_contract("franka_pick_place").task.policy
    targets = line(24)
    times = (np.arange(24) + 1) / policy.action_hz
    last = ActionChunk(10**9, "base", targets.components, targets.values, times, sequence=1, epoch=1, contract_crc=0)
    part = committed_of(last, 10**9 + 400_000_000, 0.12, policy, REFERENCE)
    np.testing.assert_allclose(part.rows["arm"], targets.values[8:], atol=1e-9)
    assert part.delay_steps == 3
