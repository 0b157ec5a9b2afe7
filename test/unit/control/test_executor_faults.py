"""Stops, holds, resets and late ticks in motion: the end state, the time to it, and the limits meanwhile."""

import numpy as np
import pytest

from lawam_ros.control.limit_checker import check_commands
from lawam_ros.control.timeline import Plan


def start_moving(bench, speed=0.2):
    ramp = np.outer(np.arange(1, 25) / 20, [0.0, speed, 0.0])
    assert bench.offer(bench.chunk(bench.rows(ramp))) is None
    bench.run(0.5)
    assert np.abs(bench.out.command.velocities_rad_s).max() > 0.05


def test_lost_joint_states_stop_and_latch_and_reset_goes_on_from_the_command(bench):
    start_moving(bench)
    bench.measuring = False
    took = bench.until(lambda: bench.status.state == "STOP")
    assert took <= 0.06
    bench.until(lambda: bench.status.state == "LATCHED", 1.0)
    assert bench.status.reason == "joint_states_lost"
    assert "old" in bench.executor.reset(bench.now_ns)
    bench.measuring = True
    bench.run(0.02)
    assert bench.status.state == "LATCHED"
    epoch, place = bench.status.epoch, bench.joints
    assert bench.executor.reset(bench.now_ns) is None
    assert (bench.status.state, bench.status.initialised_from, bench.status.epoch) == ("HOLD", "command", epoch + 1)
    np.testing.assert_array_equal(bench.tick().command.positions_rad, place)
    start_moving(bench, -0.2)
    assert bench.violations == []


def test_a_measured_nan_stops_within_one_message(bench):
    start_moving(bench)
    bench.executor.measured(bench.now_ns, dict.fromkeys(bench.robot.joint_names, float("nan")))
    assert bench.tick().status.state in ("STOP", "LATCHED")
    bench.until(lambda: bench.status.state == "LATCHED")
    assert bench.status.reason == "joint_states_invalid"
    assert bench.violations == []


def test_silence_of_the_policy_holds_then_latches_and_needs_a_living_policy_to_reset(bench):
    start_moving(bench)
    bench.executor.heartbeat(bench.now_ns)
    took = bench.until(lambda: bench.status.state == "HOLD")
    assert 0.3 <= took <= 0.31
    bench.until(lambda: bench.status.state == "LATCHED", 2.0)
    assert bench.status.reason == "policy_lost"
    assert bench.offer(bench.chunk(bench.rows([0, 0, 0]))) == "latched"
    assert "heartbeat" in bench.executor.reset(bench.now_ns)
    bench.executor.heartbeat(bench.now_ns)
    assert bench.executor.reset(bench.now_ns) is None
    assert bench.violations == []


def test_a_policy_that_never_beat_is_not_missed(bench):
    bench.run(2.0)
    assert bench.status.reason == "waiting_for_chunk"


def test_a_blocked_arm_is_held_then_stopped(bench):
    bench.measuring = False
    blocked = dict(zip(bench.robot.joint_names, bench.joints.tolist(), strict=True))
    ramp = np.outer(np.arange(1, 25) / 20, [0.0, 0.3, 0.0])
    reasons = []
    for k in range(1500):
        if k % 100 == 0 and k < 500:
            bench.offer(bench.chunk(bench.rows(ramp)))
        bench.executor.measured(bench.now_ns + bench.period_ns, blocked)
        bench.tick()
        reasons.append((bench.status.state, bench.status.reason))
    assert ("HOLD", "tracking_error") in reasons
    assert reasons[-1] == ("LATCHED", "tracking_error")
    assert "measured joints" in bench.executor.reset(bench.now_ns)
    assert bench.violations == []


def test_deactivation_in_motion_brakes_to_rest_first(bench):
    start_moving(bench)
    bench.executor.deactivate(bench.now_ns)
    assert bench.tick().status.state == "HOLD"
    assert bench.offer(bench.chunk(bench.rows([0, 0, 0]))) == "hold"
    assert bench.until(lambda: bench.status.state == "INACTIVE") < 1.0
    assert bench.violations == []
    bench.checker.restart()
    bench.activate()
    assert bench.status.epoch == 2
    start_moving(bench, -0.1)


def test_operator_hold_lasts_until_released(bench):
    start_moving(bench)
    bench.executor.request_hold("operator", bench.now_ns)
    bench.until(lambda: bench.status.hold_since_ns is not None, 1.0)
    assert bench.offer(bench.chunk(bench.rows([0, 0, 0]))) == "hold"
    bench.executor.release_hold("operator", bench.now_ns)
    start_moving(bench, -0.1)
    assert bench.violations == []


def test_stop_is_faster_than_hold_and_latches(bench):
    start_moving(bench)
    bench.executor.request_stop("estop", bench.now_ns)
    assert bench.until(lambda: bench.status.state == "LATCHED") < 0.3
    assert bench.status.reason == "estop"
    assert bench.violations == []


def test_instruction_and_clock_jump_raise_the_epoch(bench):
    start_moving(bench)
    bench.executor.set_instruction(bench.status.instruction, bench.now_ns)
    assert bench.status.epoch == 1
    old = bench.chunk(bench.rows(np.zeros((24, 3))))
    bench.executor.set_instruction("something else", bench.now_ns)
    assert (bench.status.epoch, bench.status.epoch_stamp_ns) == (2, bench.now_ns)
    assert bench.offer(old) == "epoch"
    bench.executor.clock_jumped(bench.now_ns)
    assert (bench.status.state, bench.status.reason, bench.status.epoch) == ("HOLD", "clock_jumped", 3)
    bench.until(lambda: bench.status.hold_since_ns is not None, 1.0)
    start_moving(bench, -0.1)
    assert bench.violations == []


@pytest.mark.parametrize(("late_periods", "made_up"), [(2, 2), (3, 3), (4, 1), (50, 1)])
def test_late_ticks_make_up_at_most_three_periods(bench, late_periods, made_up):
    start_moving(bench)
    before = bench.out.command
    stamp = before.stamp_ns
    bench.executor.measured(bench.now_ns + late_periods * bench.period_ns, {**dict.fromkeys(FINGER_NAMES, 0.04), **joints_of(bench)})
    out = bench.tick(step_ns=late_periods * bench.period_ns)
    assert out.command.stamp_ns - stamp == late_periods * bench.period_ns
    moved = np.abs(out.command.positions_rad - before.positions_rad).max() / np.abs(before.velocities_rad_s).max() / 0.004
    assert moved == pytest.approx(made_up, rel=0.15)
    assert out.counters["retimed_ticks"] == (late_periods > 3) and out.counters["late_ticks"] == 1
    bench.run(1.5)
    assert bench.violations == []


FINGER_NAMES = ("panda_finger_joint1", "panda_finger_joint2")


def joints_of(bench):
    return dict(zip(bench.robot.joint_names, bench.joints.tolist(), strict=True))


def test_limits_hold_over_stamps_that_are_slewed(bench):
    """The node may shorten the step between stamps by 1e-4 while it follows a drifting clock."""
    ramp = np.outer(np.minimum(np.arange(1, 25) / 20 * 1.5, 0.4), [0.0, 1.0, 0.0])
    assert bench.offer(bench.chunk(bench.rows(ramp))) is None
    bench.run(2.0)
    commands = [out.command for out in bench.history]
    shares = [np.abs(c.accelerations_rad_s2 / bench.checker._limits.acceleration_rad_s2).max() for c in commands]
    assert max(shares) > 0.99  # otherwise nothing is put to the test
    found = check_commands(
        [round(c.stamp_ns * (1.0 - 1e-4)) for c in commands],
        *(np.array([getattr(c, name) for c in commands]) for name in ("positions_rad", "velocities_rad_s", "accelerations_rad_s2")),
        bench.checker._limits,
    )
    assert found == []


def test_a_tick_that_comes_too_early_repeats_the_command(bench):
    start_moving(bench)
    before = bench.out.command
    out = bench.tick(step_ns=100_000)
    assert out.repeated and out.command.stamp_ns == before.stamp_ns
    np.testing.assert_array_equal(out.command.positions_rad, before.positions_rad)
    assert not bench.tick().repeated


def test_a_stall_of_our_own_is_not_taken_for_the_silence_of_the_joints(bench):
    """The whole machine stood still for 0.2 s; the joint states of that time arrive right after the first tick."""
    bench.offer(bench.chunk(bench.rows(np.outer(np.arange(1, 25) / 24, [0.0, 0.1, 0.0]))))
    bench.run(0.3)
    bench.measuring = False
    assert bench.tick(step_ns=200_000_000).status.state == "RUN"
    bench.measuring = True
    bench.run(0.3)
    assert bench.status.state == "RUN"
    assert bench.violations == []


def test_joints_that_stay_silent_after_a_stall_stop_the_arm_within_the_catch_up_time(bench):
    bench.offer(bench.chunk(bench.rows(np.outer(np.arange(1, 25) / 24, [0.0, 0.1, 0.0]))))
    bench.run(0.3)
    bench.measuring = False
    bench.tick(step_ns=200_000_000)
    assert bench.until(lambda: bench.status.state in ("STOP", "LATCHED")) <= 0.024
    assert bench.status.reason == "joint_states_lost"


def test_stall_upon_stall_does_not_hide_that_the_joints_are_silent(bench):
    bench.offer(bench.chunk(bench.rows(np.outer(np.arange(1, 25) / 24, [0.0, 0.1, 0.0]))))
    bench.run(0.3)
    bench.measuring = False
    for _ in range(6):
        bench.tick(step_ns=5 * bench.period_ns)
    assert bench.status.state in ("STOP", "LATCHED")
    assert bench.status.reason == "joint_states_lost"


@pytest.mark.parametrize("fault", [ValueError, OverflowError, ZeroDivisionError, np.linalg.LinAlgError, None])
def test_a_plan_that_cannot_be_worked_out_ends_in_the_prepared_stop(bench, monkeypatch, fault):
    """Whatever gets past the judgement of chunks neither raises in the tick nor reaches a command. None: a target that is not a number."""
    start_moving(bench)
    bench.run(0.3)
    real = Plan.state

    def broken(self, arm, pace):
        if fault is not None:
            raise fault("broken")
        return real(self, arm, pace)._replace(position_m=(float("nan"), 0.0, 0.0))

    monkeypatch.setattr(Plan, "state", broken)
    bench.tick()
    assert bench.status.state == "STOP" and bench.status.reason.startswith("guard_")
    bench.until(lambda: bench.status.state == "LATCHED", 0.5)
    monkeypatch.setattr(Plan, "state", real)
    assert bench.executor.reset(bench.now_ns) is None
    start_moving(bench, -0.1)
    assert bench.violations == []
