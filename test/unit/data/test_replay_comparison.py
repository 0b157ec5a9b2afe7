"""A replay held against a recording."""

from dataclasses import replace

import numpy as np
import pytest

from lawam_ros.contract.records import ActionChunk, JointCommand
from lawam_ros.contract.rotations import quat_from_rotvec, quat_multiply
from lawam_ros.data.replay_comparison import Replayed, Tolerances, chunk_deviation, compare, table, used_apart_ns

MS = 1_000_000
NAMES = tuple(f"arm/{name}" for name in ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper"))
RNG = np.random.default_rng(7)


def chunk(stamp_ms: int, sequence: int = 1) -> ActionChunk:
    values = np.column_stack([RNG.normal(size=(6, 3)), quat_from_rotvec(RNG.normal(size=(6, 3))), RNG.uniform(0, 0.08, 6)])
    return ActionChunk(stamp_ms * MS, "base", NAMES, values, 0.05 * np.arange(1, 7), sequence, 1, 0)


def commands(count: int = 50) -> list[JointCommand]:
    return [JointCommand(4 * k * MS, np.full(7, 0.001 * k), np.zeros(7), np.zeros(7), {"arm": 0.04}) for k in range(count)]


RUN = Replayed(
    chunks=[chunk(100), chunk(500, 2)],
    commands=[commands()],
    holds=[(40 * MS, "plan_ended")],
    stops=[(150 * MS, "estop")],
    uses={20 * MS: 40 * MS, 80 * MS: 120 * MS},
    chunk_ms=20.0,
)


def missed(recorded: Replayed, replayed: Replayed, in_step: bool = True) -> list[str]:
    return [row.name for row in compare(recorded, replayed, Tolerances(), with_commands=True, in_step=in_step).rows if not row.good]


def test_the_same_run_is_good_and_identical() -> None:
    comparison = compare(RUN, RUN, Tolerances(), with_commands=True, in_step=True)
    assert comparison.good
    assert "50, identical" in table(comparison)
    other_numbers = replace(RUN, chunks=[replace(c, sequence=c.sequence + 40, epoch=9) for c in RUN.chunks])
    assert missed(RUN, other_numbers) == []


def changed(component: int, by: float) -> Replayed:
    values = RUN.chunks[1].values.copy()
    values[3, component] += by
    return replace(RUN, chunks=[RUN.chunks[0], replace(RUN.chunks[1], values=values)])


@pytest.mark.parametrize(("component", "by", "row"), [(1, 2e-4, "chunks, position"), (7, -2e-3, "chunks, gripper")])
def test_a_target_beyond_its_tolerance_is_a_regression(component: int, by: float, row: str) -> None:
    assert missed(RUN, changed(component, by)) == [row]
    assert missed(RUN, changed(component, by / 4)) == []


def test_a_turn_beyond_its_tolerance_is_a_regression_whatever_the_sign_of_the_quaternion() -> None:
    values = RUN.chunks[0].values.copy()
    values[:, 3:7] = -quat_multiply(np.tile(quat_from_rotvec(np.array([0.0, 0.0, 2e-3])), (6, 1)), values[:, 3:7])
    turned = replace(RUN.chunks[0], values=values)
    np.testing.assert_allclose(chunk_deviation(RUN.chunks[0], turned)["orientation"], 2e-3, rtol=1e-6)
    assert missed(RUN, replace(RUN, chunks=[turned, RUN.chunks[1]])) == ["chunks, orientation"]


def test_missing_chunks_wrong_numbers_and_other_stops_are_regressions() -> None:
    assert missed(RUN, replace(RUN, chunks=RUN.chunks[:1])) == ["chunks"]
    broken = replace(RUN.chunks[1], values=np.full_like(RUN.chunks[1].values, np.nan))
    assert "chunks" in missed(RUN, replace(RUN, chunks=[RUN.chunks[0], broken]))
    assert missed(RUN, replace(RUN, stops=[])) == ["stops"]
    assert missed(RUN, replace(RUN, stops=[(150 * MS, "requested")])) == ["stops"]
    assert missed(RUN, replace(RUN, stops=[(400 * MS, "estop")])) == ["stops"]
    fewer = replace(RUN, commands=[[]])
    assert missed(RUN, fewer) == ["commands"]


def test_other_holds_are_a_regression_in_lock_step_only() -> None:
    for holds in ([], [(40 * MS, "ik_error")], [(200 * MS, "plan_ended")]):
        assert missed(RUN, replace(RUN, holds=holds)) == ["holds"]
        assert missed(RUN, replace(RUN, holds=holds), in_step=False) == []


def test_out_of_step_commands_are_compared_until_a_chunk_is_used_at_another_instant() -> None:
    """The second chunk, recorded at 120 ms, is used 30 ms early: what comes after 90 ms may differ, and nothing else."""
    for bent_from_ms, expected in ((92, []), (60, ["commands"])):
        bent = [replace(c, positions_rad=c.positions_rad + 0.1) if c.stamp_ns >= bent_from_ms * MS else c for c in commands()]
        early = replace(RUN, commands=[bent], uses={20 * MS: 40 * MS, 80 * MS: 90 * MS})
        assert missed(RUN, early, in_step=False) == expected
        assert missed(RUN, early) == ["commands"], "in lock step there is no other instant"
    (row,) = (row for row in compare(RUN, early, Tolerances(), with_commands=True, in_step=False).rows if row.name == "commands")
    assert row.count == "23 of 50"


def test_a_few_milliseconds_are_no_other_instant_and_every_episode_begins_anew() -> None:
    assert used_apart_ns(RUN, replace(RUN, uses={20 * MS: 45 * MS, 80 * MS: 105 * MS})) == []
    assert used_apart_ns(RUN, replace(RUN, uses={20 * MS: 40 * MS})) == [120 * MS], "one that was never used"
    assert used_apart_ns(replace(RUN, uses={}), RUN) == [], "a recording that does not tell"
    later = [replace(c, stamp_ns=c.stamp_ns + 1000 * MS) for c in commands()]
    off = [replace(c, positions_rad=c.positions_rad + 0.1) for c in later]
    two, other = replace(RUN, commands=[commands(), later]), replace(RUN, commands=[commands(), off], uses={})
    assert missed(two, other, in_step=False) == ["commands"]


def test_commands_are_compared_at_their_instants() -> None:
    offbeat = [replace(c, stamp_ns=c.stamp_ns + MS, positions_rad=c.positions_rad + 0.00025) for c in commands()]
    assert missed(RUN, replace(RUN, commands=[offbeat])) == []
    apart = [replace(c, positions_rad=c.positions_rad + 0.002) for c in commands()]
    assert missed(RUN, replace(RUN, commands=[apart])) == ["commands"]
    assert replace(RUN, commands=[apart]).command_hash != RUN.command_hash
