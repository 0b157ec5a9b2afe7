"""Faults that reach an arm in motion: when they are detected, where they end, and that the set-points keep every limit meanwhile."""

import dataclasses

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.executor import ActivationRefused
from lawam_ros.control.motion import LAG_FULL_RAD

MOVE_M = np.outer(np.arange(1, 25) / 20, [0.0, 0.2, 0.0])


def start_moving(bench):
    chunk = bench.chunk(bench.rows(MOVE_M))
    assert bench.offer(chunk) is None
    bench.run(0.4)
    assert bench.status.state == "RUN" and np.abs(bench.out.command.velocities_rad_s).max() > 0.05
    return chunk


def joints_of(bench, **changes):
    fingers = {name: 0.04 for arm in bench.robot.arms for name in arm.gripper.joints}
    return {**fingers, **dict(zip(bench.robot.joint_names, bench.joints.tolist(), strict=True)), **changes}


def latched(bench, reason):
    bench.until(lambda: bench.status.state == "LATCHED", 1.0)
    assert bench.status.reason == reason
    assert not np.any(bench.out.command.velocities_rad_s)
    assert bench.violations == []


def test_joints_in_another_order_are_read_by_name_and_a_missing_one_refuses_activation(contract, urdf_text, new_bench):
    bench = new_bench(contract, urdf_text)
    whole = joints_of(bench)
    lacking = {name: value for name, value in whole.items() if name != "panda_joint4"}
    bench.executor.measured(bench.now_ns, lacking)
    with pytest.raises(ActivationRefused, match="missing: panda_joint4"):
        bench.executor.activate(bench.now_ns)
    bench.executor.measured(bench.now_ns, dict(reversed(whole.items())))
    bench.executor.activate(bench.now_ns)
    np.testing.assert_array_equal(bench.tick(step_ns=0).command.positions_rad, bench.robot.arms[0].home_rad)


def test_a_joint_that_goes_missing_in_motion_counts_as_silence(bench):
    start_moving(bench)
    bench.measuring = False

    def lacking():
        named = joints_of(bench)
        del named["panda_joint4"]
        bench.executor.measured(bench.now_ns, named)

    since = bench.now_ns
    while bench.status.state == "RUN":
        lacking()
        bench.tick()
        assert bench.now_ns - since < 60_000_000
    latched(bench, "joint_states_lost")


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "joint_states_invalid"), (np.inf, "joint_states_invalid"), (2.0, "joint_out_of_limits")]
)
def test_one_message_with_an_impossible_joint_stops_at_the_next_tick(bench, value, reason):
    start_moving(bench)
    bench.executor.measured(bench.now_ns, joints_of(bench, panda_joint2=value))
    bench.measuring = False
    assert bench.tick().status.state == "STOP"
    bench.executor.measured(bench.now_ns, joints_of(bench, panda_joint2=value))
    assert bench.executor.reset(bench.now_ns) is not None
    bench.measuring = True
    latched(bench, reason)
    assert bench.executor.reset(bench.now_ns) is None


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "non_finite"), (np.inf, "non_finite"), (1e9, "range"), (1.5, "start_distance")])
def test_an_impossible_chunk_is_refused_on_arrival_and_the_valid_one_ends_in_rest(bench, value, reason):
    start_moving(bench)
    end = bench.pose.position_m[1]
    rows = bench.rows(MOVE_M)
    rows[:, 1] = value
    assert bench.offer(bench.chunk(rows)) == reason
    assert (bench.status.state, bench.status.rejected, bench.status.rejected_reason) == ("RUN", 1, reason)
    bench.until(lambda: bench.status.state == "HOLD", 1.5)
    assert bench.status.reason == "plan_ended"
    bench.until(lambda: bench.status.hold_since_ns is not None, 1.0)
    assert bench.pose.position_m[1] > end + 0.1, "the valid one ran on"
    assert bench.violations == []


def test_late_repeated_and_disordered_chunks_are_dropped(bench):
    first = start_moving(bench)
    second = bench.chunk(bench.rows(MOVE_M))
    third = bench.chunk(bench.rows(MOVE_M))
    assert bench.offer(third) is None
    assert bench.offer(third) == "sequence"
    assert bench.offer(second) == "sequence"
    assert bench.offer(dataclasses.replace(first, sequence=90, stamp_ns=bench.now_ns - 1_300_000_000)) == "stamp_before_epoch"
    bench.run(1.0)
    assert bench.offer(dataclasses.replace(first, sequence=91)) == "expired"
    assert bench.status.rejected == 4
    bench.run(1.0)
    assert bench.violations == []


def test_chunks_from_before_a_reset_are_dropped_by_their_epoch(bench):
    start_moving(bench)
    before = bench.chunk(bench.rows(np.zeros((24, 3))))
    bench.executor.request_stop("requested", bench.now_ns)
    latched(bench, "requested")
    assert bench.executor.reset(bench.now_ns) is None
    assert bench.offer(before) == "epoch"
    assert bench.run(0.2).status.state == "HOLD"


def test_chunks_that_suddenly_come_300_ms_late_neither_jerk_nor_stop_the_arm(bench):
    """Observations every 0.1 s of one long smooth course; from 2 s on each chunk takes 300 ms instead of 12."""
    start, begin = bench.pose, bench.now_ns

    def course(t):
        return 0.12 * (1.0 - np.cos(2.0 * np.pi * t / 6.0))

    pending, speeds = [], []
    for k in range(1250):
        t = (bench.now_ns - begin) * 1e-9
        if k % 25 == 0:
            ways = np.zeros((24, 3))
            ways[:, 1] = course(t + np.arange(1, 25) / 20)
            pending.append((bench.now_ns + (12_000_000 if t < 2.0 else 300_000_000), bench.chunk(bench.rows(ways, origin=start))))
        while pending and pending[0][0] <= bench.now_ns:
            assert bench.offer(pending.pop(0)[1]) is None
        out = bench.tick()
        if k > 25:
            assert out.status.state == "RUN"
        speeds.append(bench.executor.motion._arms[0].target.velocity_m_s)
        assert abs(out.poses["arm"].position_m[1] - start.position_m[1] - course(t)) < 0.02
    assert np.linalg.norm(np.diff(speeds, axis=0), axis=1).max() < 1.0 * 0.004, "no step in the velocity of the target"
    assert bench.violations == []


def test_a_chunk_that_starts_elsewhere_is_refused_and_the_arm_does_not_move(bench):
    still = bench.out.command.positions_rad
    assert bench.offer(bench.chunk(bench.rows(MOVE_M + [0.0, 0.0, 0.15]))) == "start_distance"
    np.testing.assert_array_equal(bench.run(0.5).command.positions_rad, still)


def test_a_shaking_plan_is_cut_to_the_limits_and_counted(bench):
    start = bench.pose
    for k in range(500):
        if k % 50 == 0:
            ways = np.zeros((24, 3))
            ways[:, 1] = 0.06 * np.sign(np.sin(np.arange(24) * np.pi / 2.0 + 0.1))
            bench.offer(bench.chunk(bench.rows(ways, origin=start)))
        bench.tick()
    assert bench.out.counters["limit_hits"] > 10
    assert bench.violations == []


def test_a_plan_that_the_joints_cannot_follow_for_half_a_second_is_held_and_the_next_good_one_taken(bench):
    start, behind_since = bench.pose, None
    for k in range(2000):
        if k % 50 == 0:
            ways = np.zeros((24, 3))
            ways[:, 1] = 0.05 * np.sign(np.sin(np.arange(24) * np.pi / 2.0 + 0.1))
            bench.offer(bench.chunk(bench.rows(ways, origin=start)))
        bench.tick()
        if bench.status.state == "HOLD":
            break
        behind = bench.executor.motion.lag_rad > LAG_FULL_RAD
        behind_since = (behind_since or bench.now_ns) if behind else None
    assert bench.status.reason == "beyond_limits"
    assert 0.5 <= (bench.now_ns - behind_since) * 1e-9 <= 0.5 + 3 * bench.period_ns * 1e-9
    bench.until(lambda: bench.status.hold_since_ns is not None, 2.0)
    assert not np.any(bench.out.command.velocities_rad_s)
    assert bench.offer(bench.chunk(bench.rows(MOVE_M))) is None
    bench.run(0.2)
    assert bench.status.state == "RUN" and bench.violations == []


def test_a_blocked_arm_is_held_after_a_fifth_of_a_second_and_stopped_half_a_second_later(bench):
    bench.measuring = False
    blocked = joints_of(bench)
    budget, since, seen = bench.robot.budgets.tracking_error_rad, None, {}
    for k in range(1000):
        if k % 100 == 0 and k < 500:
            bench.offer(bench.chunk(bench.rows(MOVE_M * 1.5)))
        bench.executor.measured(bench.now_ns + bench.period_ns, blocked)
        bench.tick()
        away = np.abs(bench.out.command.positions_rad - np.array([blocked[name] for name in bench.robot.joint_names])).max()
        since = bench.now_ns if since is None and away > budget else since
        seen.setdefault((bench.status.state, bench.status.reason), bench.now_ns)
    # At rest already when it is stopped, it is latched in the same tick.
    held, stopped = (seen[state, "tracking_error"] - since for state in ("HOLD", "LATCHED"))
    assert 0.19e9 < held < 0.22e9
    assert 0.69e9 < stopped < 0.72e9
    latched(bench, "tracking_error")


def two_pandas():
    return load_contract("franka_pick_place", "two_pandas", ["task.robots=[two_pandas]"])


@pytest.mark.parametrize(
    ("fault", "reason"), [("nan", "joint_states_invalid"), ("outside", "joint_out_of_limits"), ("blocked", "tracking_error")]
)
def test_a_fault_of_one_arm_stops_both_at_the_same_tick_in_phase(new_bench, fault, reason):
    contract = two_pandas()
    bench = new_bench(contract, (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8"))
    bench.activate()
    start = bench.out.poses
    start_moving(bench)
    bench.measuring = False
    wrong = {"nan": np.nan, "outside": 3.5, "blocked": 0.0}[fault]
    states = []
    for k in range(400):
        if k == 100 and fault == "blocked":
            bench.offer(bench.chunk(bench.rows(MOVE_M)))
        changes = {"right_panda_joint1": wrong - (0.4 if fault == "blocked" else 0.0)}
        bench.executor.measured(bench.now_ns + bench.period_ns, joints_of(bench, **changes))
        bench.tick()
        states.append(bench.status.state)
        left, right = (bench.out.poses[name].position_m - start[name].position_m for name in ("left", "right"))
        np.testing.assert_allclose(left, right, atol=1e-6)
        both = bench.out.command.velocities_rad_s.reshape(2, 7)
        assert np.any(both[0]) == np.any(both[1])
    if fault != "blocked":
        assert states[0] in ("STOP", "LATCHED"), "the tick after the message"
    else:
        assert states.index("HOLD") * bench.period_ns < 0.22e9
    assert (bench.status.state, bench.status.reason) == ("LATCHED", reason)
    assert bench.violations == []
