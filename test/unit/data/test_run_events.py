"""What is told of a run from its chunks and status."""

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.wire import ExecutorStatus
from lawam_ros.data.run_events import Spell, seams, spells, uses

ROBOT = load_contract("franka_pick_place").robot
TIMES_S = np.arange(1, 25) * 0.05


def chunk(sequence, stamp_s, start_m, epoch=1, components=("arm/x", "arm/y", "arm/z")):
    """Moves along x at 0.1 m/s from start_m."""
    x = start_m + 0.1 * TIMES_S
    values = np.stack([x, np.zeros_like(x), np.full_like(x, 0.3)], axis=1)
    return ActionChunk(round(stamp_s * 1e9), "panda_link0", components, values, TIMES_S, sequence, epoch, 0)


def status(stamp_s, state="RUN", reason="", accepted=0, epoch=1):
    return ExecutorStatus(round(stamp_s * 1e9), state, reason, 0, epoch, 0, "", "", accepted, 0, 0, "")


def test_a_chunk_is_in_use_from_the_first_status_that_says_so():
    chunks = [chunk(1, 1.0, 0.4), chunk(2, 1.4, 0.4), chunk(3, 1.8, 0.4), chunk(1, 5.0, 0.4, epoch=2)]
    statuses = [status(1.1, accepted=1), status(1.2, accepted=1), status(1.9, accepted=3), status(5.2, accepted=1, epoch=2)]
    used = uses(chunks, statuses)
    assert [(use.chunk.sequence, use.chunk.epoch) for use in used] == [(1, 1), (3, 1), (1, 2)]
    assert [use.latency_s for use in used] == pytest.approx([0.1, 0.1, 0.2])


def test_seams_are_measured_at_the_instant_of_the_change():
    used = uses([chunk(1, 1.0, 0.4), chunk(2, 1.4, 0.445)], [status(1.1, accepted=1), status(1.5, accepted=2)])
    (seam,) = seams(ROBOT, used)
    assert seam.at_ns == 1_500_000_000
    # Old: 0.4 + 0.1 * 0.5; new: 0.445 + 0.1 * 0.1.
    assert seam.distance_m == pytest.approx(0.005)


@pytest.mark.parametrize(
    "second",
    [
        chunk(2, 1.4, 0.4, epoch=2),
        chunk(2, 1.4, 0.4, components=("arm/panda_joint1", "arm/panda_joint2", "arm/panda_joint3")),
        chunk(2, 9.0, 0.4),
    ],
    ids=["another epoch", "joints", "after the end of the first"],
)
def test_nothing_is_compared_that_does_not_meet(second):
    at_s = second.stamp_ns * 1e-9 + 0.1
    used = uses([chunk(1, 1.0, 0.4), second], [status(1.1, accepted=1), status(at_s, accepted=2, epoch=second.epoch)])
    assert len(used) == 2 and seams(ROBOT, used) == []


def test_spells_follow_each_other_without_gaps():
    said = [
        status(0.0, "HOLD", "waiting_for_chunk"),
        status(0.1, "HOLD", "waiting_for_chunk"),
        status(0.3),
        status(0.4),
        status(2.0, "STOP", "estop"),
    ]
    said.append(status(2.5, "STOP", "estop"))
    assert spells(said) == [
        Spell(0, 300_000_000, "HOLD", "waiting_for_chunk"),
        Spell(300_000_000, 2_000_000_000, "RUN", ""),
        Spell(2_000_000_000, 2_500_000_000, "STOP", "estop"),
    ]
    assert spells([]) == []
