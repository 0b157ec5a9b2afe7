"""A replay held against a recording."""

from dataclasses import replace

import numpy as np
import pytest

from lawam_ros.contract.records import ActionChunk, JointCommand
from lawam_ros.contract.rotations import quat_from_rotvec, quat_multiply
from lawam_ros.data.replay_comparison import Replayed, Tolerances, chunk_deviation, compare, table

MS = 1_000_000
NAMES = tuple(f"arm/{name}" for name in ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper"))
RNG = np.random.default_rng(7)


def chunk(stamp_ms: int, sequence: int = 1) -> ActionChunk:
    values = np.column_stack([RNG.normal(size=(6, 3)), quat_from_rotvec(RNG.normal(size=(6, 3))), RNG.uniform(0, 0.08, 6)])
    return ActionChunk(stamp_ms * MS, "base", NAMES, values, 0.05 * np.arange(1, 7), sequence, 1, 0)


def commands(count: int = 50) -> list[JointCommand]:
    return [JointCommand(4 * k * MS, np.full(7, 0.001 * k), np.zeros(7), np.zeros(7), {"arm": 0.04}) for k in range(count)]


RUN = Replayed([chunk(100), chunk(500, 2)], [commands()], [(150 * MS, "estop")], 20.0)


def missed(recorded: Replayed, replayed: Replayed) -> list[str]:
    return [row.name for row in compare(recorded, replayed, Tolerances(), with_commands=True).rows if not row.good]


def test_the_same_run_is_good_and_identical() -> None:
    comparison = compare(RUN, RUN, Tolerances(), with_commands=True)
    assert comparison.good
    assert "50, identical" in table(comparison)
    other_numbers = replace(RUN, chunks=[replace(c, sequence=c.sequence + 40, epoch=9) for c in RUN.chunks])
    assert compare(RUN, other_numbers, Tolerances(), with_commands=True).good


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


def test_commands_are_compared_at_their_instants() -> None:
    offbeat = [replace(c, stamp_ns=c.stamp_ns + MS, positions_rad=c.positions_rad + 0.00025) for c in commands()]
    assert missed(RUN, replace(RUN, commands=[offbeat])) == []
    apart = [replace(c, positions_rad=c.positions_rad + 0.002) for c in commands()]
    assert missed(RUN, replace(RUN, commands=[apart])) == ["commands"]
    assert replace(RUN, commands=[apart]).command_hash != RUN.command_hash
