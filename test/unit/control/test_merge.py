"""Merging of overlapping chunks: the official rules, averages on the manifold, and the executor with each strategy."""

import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.rotations import quat_from_rotvec, quat_from_rpy, quat_multiply, rotvec_from_quat, rpy_from_quat
from lawam_ros.contract.task import MERGES
from lawam_ros.control.ensemble import EnsembleRules, ensemble
from lawam_ros.control.merge import TimedTables, merge_named, towel_rows

HZ = 20.0
DOWN = np.array([1.0, 0.0, 0.0, 0.0])


@pytest.fixture
def arms(contract):
    return contract.robot.arms


def table(n, seed=0, rotation=0.3):
    rng = np.random.default_rng(seed)
    turns = quat_from_rotvec(rng.normal(size=(n, 3)) * rotation)
    quats = quat_multiply(turns, np.broadcast_to(DOWN, (n, 4)))
    return np.concatenate([rng.normal(size=(n, 3)) * 0.1, quats, rng.uniform(0.0, 0.08, (n, 1))], axis=1)[:, None, :]


def timed(values, first_step=0):
    return TimedTables(round(first_step / HZ * 1e9), (np.arange(len(values)) + 1) / HZ, values)


def angle_between(a, b):
    return np.linalg.norm(rotvec_from_quat(quat_multiply(a, b * [-1, -1, -1, 1])), axis=-1)


def test_replace_takes_the_newest_as_it_is(arms):
    merge = merge_named("replace", arms)
    merge.merged(timed(table(24, 1)))
    new = table(24, 2)
    assert merge.merged(timed(new, 8)) is new


def test_ensemble_has_the_weights_of_act_and_the_newest_gripper(arms):
    merge, chunks = merge_named("ensemble", arms), [table(12, seed) for seed in range(3)]
    out = [merge.merged(timed(chunk, 4 * k)) for k, chunk in enumerate(chunks)][-1]
    # Step 8 is row 8 of the first, 4 of the second, 0 of the third; step 12 is no more in the first.
    weights = np.exp(-0.01 * np.arange(3))
    expected = sum(w * c[k, 0, :3] for w, c, k in zip(weights, chunks, (8, 4, 0), strict=True)) / weights.sum()
    np.testing.assert_allclose(out[0, 0, :3], expected, atol=1e-9)
    two = weights[:2] / weights[:2].sum()
    np.testing.assert_allclose(out[4, 0, :3], two[0] * chunks[1][8, 0, :3] + two[1] * chunks[2][4, 0, :3], atol=1e-9)
    np.testing.assert_array_equal(out[..., 7], chunks[2][..., 7])
    np.testing.assert_allclose(out[8:], chunks[2][8:], atol=1e-12)


def test_rotations_are_averaged_on_the_manifold_across_half_a_turn(arms):
    """Two grasps that point down, rolled a little to either side of 180 degrees and with opposite signs of the quaternion."""
    merge, chunks = merge_named("ensemble", arms), []
    for sign, roll in ((1.0, np.pi - 0.1), (-1.0, -np.pi + 0.1)):
        rows = table(6)
        rows[..., 3:7] = sign * quat_from_rpy(np.array([roll, 0.0, 0.0]))
        chunks.append(rows)
    merge.merged(timed(chunks[0]))
    out = merge.merged(timed(chunks[1]))
    assert angle_between(out[0, 0, 3:7], DOWN) < 0.002
    assert np.dot(out[0, 0, 3:7], chunks[1][0, 0, 3:7]) > 0.9


def test_the_mean_of_two_rotations_lies_half_way(arms):
    merge, a, b = merge_named("ensemble", arms), table(1), table(1)
    b[0, 0, 3:7] = quat_multiply(quat_from_rotvec(np.array([0.0, 0.8, 0.0])), a[0, 0, 3:7])
    merge.merged(timed(a))
    out = merge.merged(timed(b))[0, 0, 3:7]
    np.testing.assert_allclose(angle_between(out, a[0, 0, 3:7]), 0.8 * np.exp(-0.01) / (1 + np.exp(-0.01)), atol=1e-3)


def test_chunks_off_the_grid_are_read_between_their_points(arms):
    merge = merge_named("ensemble", arms)
    line = table(24)
    line[..., :3] = np.arange(24)[:, None, None] * 0.01
    merge.merged(timed(line))
    shifted = line.copy()
    shifted[..., :3] += 0.01 * 3.5
    np.testing.assert_allclose(merge.merged(timed(shifted, 3.5))[:20, 0, :3], shifted[:20, 0, :3], atol=1e-9)


def test_official_robotwin_is_the_golden_ensemble_of_rows(arms):
    chunks = [table(12, seed) for seed in range(3)]
    for chunk in chunks:
        chunk[..., 3:7] *= np.sign(chunk[..., 3:4])  # neighbouring signs, as that client's data have them
    merge = merge_named("official_robotwin", arms)
    out = [merge.merged(timed(chunk, 4 * k)) for k, chunk in enumerate(chunks)][-1]
    rows = [np.concatenate([c[:, 0, :3], c[:, 0, 6:7], c[:, 0, 3:6], c[:, 0, 7:] / 0.08], axis=1) for c in chunks]
    official = ensemble(rows, [0, 4, 8], 8, 8, EnsembleRules(binary_dims=(7,), quaternions=((3, 4, 5, 6),)))
    np.testing.assert_allclose(out[:8, 0, :3], official[:, :3], atol=1e-9)
    np.testing.assert_allclose(out[:8, 0, [6, 3, 4, 5]], official[:, 3:7], atol=1e-9)
    np.testing.assert_allclose(out[:8, 0, 7], official[:, 7] * 0.08, atol=1e-12)


def test_official_towel_is_the_servers_rule_when_chunks_follow_each_other(arms):
    """Requests every ``move_steps``: blending on absolute time and the server's bookkeeping by index are the same."""
    move, chunks = 6, [table(12, seed, rotation=0.1) for seed in range(3)]
    for chunk in chunks:
        chunk[..., 3:7] = quat_multiply(quat_from_rotvec(np.array([0.0, 0.4, 0.0])), quat_multiply(chunk[..., 3:7], DOWN * [-1, 1, 1, 1]))
    merge, tail = merge_named("official_towel", arms), None
    for k, chunk in enumerate(chunks):
        out = merge.merged(timed(chunk, move * k))
        actions = np.concatenate([chunk[:, 0, :3], rpy_from_quat(chunk[:, 0, 3:7]), chunk[:, 0, 7:]], axis=1)
        rows, tail = towel_rows(actions, tail, move)
        np.testing.assert_allclose(out[:move, 0, :3], rows[:, :3], atol=1e-9)
        np.testing.assert_allclose(rpy_from_quat(out[:move, 0, 3:7]), rows[:, 3:6], atol=1e-9)
        np.testing.assert_allclose(out[:move, 0, 7], rows[:, 6], atol=1e-9)


def test_towel_rows_by_hand():
    first, second = np.arange(10.0).reshape(5, 2), np.ones((5, 2))
    rows, tail = towel_rows(first, None, 2, latency_step=1)
    np.testing.assert_array_equal(rows, first[1:3])
    np.testing.assert_array_equal(tail, first[3:5])
    rows, _ = towel_rows(second, tail, 3)
    cosine = tail[0] @ second[0] / (np.linalg.norm(tail[0]) * np.linalg.norm(second[0]) + 1e-7)
    weight = np.exp(0.05 * cosine) / (np.exp(0.05 * cosine) + np.exp(0.05 * 2 / (2 + 1e-7)))
    np.testing.assert_allclose(rows[0], weight * tail[0] + (1 - weight) * second[0], atol=1e-12)
    np.testing.assert_array_equal(rows[2], second[2])
    with pytest.raises(ValueError, match="after step 5"):
        towel_rows(first, None, 2, latency_step=5)


def test_a_forgotten_chunk_counts_no_more(arms):
    merge, new = merge_named("ensemble", arms), table(12, 2)
    merge.merged(timed(table(12, 1)))
    merge.forget()
    assert merge.merged(timed(new, 2)) is new


def test_an_unknown_strategy_is_named(arms):
    with pytest.raises(UserMistake, match="executor.merge: expected one of replace, ensemble"):
        merge_named("mean", arms)
    with pytest.raises(UserMistake, match="executor.merge: expected one of replace, ensemble"):
        load_contract("franka_pick_place", overrides=["task.executor.merge=mean"])


@pytest.mark.parametrize("name", MERGES)
def test_the_executor_keeps_its_limits_and_arrives_with_every_strategy(urdf_text, new_bench, course, name):
    bench = new_bench(load_contract("franka_pick_place", overrides=[f"task.executor.merge={name}"]), urdf_text)
    bench.activate()
    start, begin, rng = bench.pose, bench.now_ns, np.random.default_rng(4)
    for k in range(600):
        t = (bench.now_ns - begin) * 1e-9
        if k % 50 == 0:
            shares = course((t + (np.arange(24) + 1) / 20) / 1.6)[:, None]
            rows = bench.rows(shares * [0.05, 0.2, -0.15] + rng.normal(size=3) * 0.003, origin=start)
            assert bench.offer(bench.chunk(rows)) is None
        bench.tick()
    assert bench.violations == []
    assert np.linalg.norm(bench.pose.position_m - start.position_m - [0.05, 0.2, -0.15]) < 0.01
    assert angle_between(bench.pose.quat_xyzw, start.quat_xyzw) < 0.01
