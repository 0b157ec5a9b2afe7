import dataclasses

import numpy as np
import pytest

from lawam_ros.contract.records import ActionChunk, Pose
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.acceptance import Situation, arm_values, judge_chunk, starts_from_rest

NOW = 10_000_000_000
START = Pose(np.array([0.5, 0.0, 0.3]), np.array([1.0, 0.0, 0.0, 0.0]))
SITUATION = Situation(now_ns=NOW, epoch=3, epoch_stamp_ns=NOW - 8 * 10**9, last_sequence=7, resting_since_ns=None, commanded={"arm": START})


@pytest.fixture
def chunk(contract):
    rows = np.tile([0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0, 0.08], (24, 1))
    return ActionChunk(
        stamp_ns=NOW - 10**8,
        frame_id="panda_link0",
        components=tuple(f"arm/{part}" for part in CARTESIAN_COMPONENTS),
        values=rows,
        time_from_start_s=(np.arange(24) + 1) / 20,
        sequence=8,
        epoch=3,
        contract_crc=contract.crc,
    )


def spoilt(values, row, column, value):
    out = values.copy()
    out[row, column] = value
    return out


def test_a_good_chunk_is_taken_whatever_the_order_of_its_components(chunk, contract):
    assert judge_chunk(chunk, contract, SITUATION) is None
    turned = dataclasses.replace(chunk, components=chunk.components[::-1], values=chunk.values[:, ::-1])
    assert judge_chunk(turned, contract, SITUATION) is None
    np.testing.assert_array_equal(arm_values(turned, contract.robot)["arm"], chunk.values)


CHANGES = {
    "contract": lambda c: {"contract_crc": c.contract_crc ^ 1},
    "epoch": lambda c: {"epoch": 2},
    "sequence": lambda c: {"sequence": 7},
    "frame": lambda c: {"frame_id": "world"},
    "components": lambda c: {"components": (*c.components[:-1], "arm/x")},
    "points": lambda c: {"values": c.values[:0], "time_from_start_s": c.time_from_start_s[:0]},
    "non_finite": lambda c: {"values": spoilt(c.values, 20, 4, np.nan)},
    "spacing": lambda c: {"time_from_start_s": c.time_from_start_s * 1.001},
    "quaternion": lambda c: {"values": spoilt(c.values, 3, 3, 1.01)},
    "range": lambda c: {"values": spoilt(c.values, 23, 1, 1e6)},
    "stamp_before_epoch": lambda c: {"stamp_ns": NOW - 8 * 10**9 - 1},
    "stamp_in_future": lambda c: {"stamp_ns": NOW + 60_000_000},
    "too_old": lambda c: {"stamp_ns": NOW - 5_100_000_000},
    "expired": lambda c: {"stamp_ns": NOW - 1_200_000_000},
    "start_distance": lambda c: {"values": c.values + np.array([0.11, 0, 0, 0, 0, 0, 0, 0])},
    "start_angle": lambda c: {"values": c.values * [1, 1, 1, 0, 0, 0, 0, 1] + [0, 0, 0, np.cos(0.31), np.sin(0.31), 0, 0, 0]},
}


@pytest.mark.parametrize("reason", sorted(CHANGES))
def test_each_fault_is_refused_by_its_name(chunk, contract, reason):
    assert judge_chunk(dataclasses.replace(chunk, **CHANGES[reason](chunk)), contract, SITUATION) == reason


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("components", lambda c: {"components": c.components[:-1], "values": c.values[:, :-1]}),
        ("components", lambda c: {"components": (*c.components, "left/x"), "values": np.hstack([c.values, c.values[:, :1]])}),
        ("components", lambda c: {"components": (*c.components[:-1], "arm/grip")}),
        ("components", lambda c: {"values": c.values[:, :7]}),
        ("points", lambda c: {"values": np.tile(c.values, (22, 1)), "time_from_start_s": (np.arange(528) + 1) / 20}),
        ("points", lambda c: {"time_from_start_s": c.time_from_start_s[:-1]}),
        ("non_finite", lambda c: {"time_from_start_s": c.time_from_start_s * np.nan}),
        ("non_finite", lambda c: {"values": spoilt(c.values, 0, 7, np.inf)}),
        ("spacing", lambda c: {"time_from_start_s": c.time_from_start_s - 0.05}),
        ("spacing", lambda c: {"time_from_start_s": c.time_from_start_s[::-1].copy()}),
        ("quaternion", lambda c: {"values": c.values * [1, 1, 1, 0, 0, 0, 0, 1]}),
    ],
)
def test_further_faults_of_form(chunk, contract, reason, change):
    assert judge_chunk(dataclasses.replace(chunk, **change(chunk)), contract, SITUATION) == reason


def test_a_chunk_observed_at_rest_may_be_older_than_its_horizon_but_not_than_the_budget(chunk, contract):
    resting = dataclasses.replace(SITUATION, resting_since_ns=NOW - 6 * 10**9)
    old = dataclasses.replace(chunk, stamp_ns=NOW - 3 * 10**9)
    assert judge_chunk(old, contract, SITUATION) == "expired"
    assert judge_chunk(old, contract, resting) is None
    assert judge_chunk(dataclasses.replace(chunk, stamp_ns=NOW - 5_100_000_000), contract, resting) == "too_old"
    moved_since = dataclasses.replace(resting, resting_since_ns=NOW - 2 * 10**9)
    assert judge_chunk(old, contract, moved_since) == "expired"
    assert not starts_from_rest(old, None)


def test_the_start_is_where_the_chunk_is_at_its_release(chunk, contract):
    away = chunk.values + np.linspace(0.0, 1.0, 24)[:, None] * np.array([0.3, 0, 0, 0, 0, 0, 0, 0])
    moving = dataclasses.replace(chunk, values=away, stamp_ns=NOW - 10**8)
    assert judge_chunk(moving, contract, SITUATION) is None
    assert judge_chunk(dataclasses.replace(moving, stamp_ns=NOW - 9 * 10**8), contract, SITUATION) == "start_distance"
    resting = dataclasses.replace(SITUATION, resting_since_ns=NOW - 6 * 10**9)
    assert judge_chunk(dataclasses.replace(moving, stamp_ns=NOW - 9 * 10**8), contract, resting) is None


def test_the_first_chunk_of_an_epoch_may_have_any_sequence(chunk, contract):
    first = dataclasses.replace(SITUATION, last_sequence=None)
    assert judge_chunk(dataclasses.replace(chunk, sequence=0), contract, first) is None
