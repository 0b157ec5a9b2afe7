"""Windows for trajectory controllers: they join without a jump, keep the limits to their ends, and are never of the past."""

import numpy as np
import pytest
from real_arm import MS, RealArm

LEAD_S, TRANSPORT_S, TICK_S = 0.1, 0.02, 0.004


def assert_within(arm, jerk=1.001, acceleration=1.001, since=0):
    excess = arm.excess(since)
    assert excess["velocity"] <= 1.001
    assert excess["acceleration"] <= acceleration
    assert excess["jerk"] <= jerk


def test_each_window_is_of_the_future_ends_at_rest_and_agrees_with_the_last():
    arm = RealArm()
    arm.move()
    arm.run(1.5)
    assert len(arm.windows) > 80
    for sent_ns, window in arm.windows:
        assert window.stamps_ns[0] >= sent_ns
        assert not window.velocities_rad_s[-1].any()
        assert not window.accelerations_rad_s2[-1].any()
    for (_, one), (_, other) in zip(arm.windows, arm.windows[1:], strict=False):
        promised = {int(s): one.state(k) for k, s in enumerate(one.stamps_ns[: one.promised])}
        shared = [(promised[int(s)], other.state(k)) for k, s in enumerate(other.stamps_ns[: other.promised]) if int(s) in promised]
        assert all(np.array_equal(a.position, b.position) and np.array_equal(a.velocity, b.velocity) for a, b in shared)


def test_what_a_window_holds_behind_its_promises_is_the_executors_own_stop():
    arm = RealArm()
    arm.move()
    arm.until(lambda: arm.windows[-1][0] == arm.now_ns)
    window = arm.windows[-1][1]
    executor = arm.executor
    executor.request_stop("test", arm.now_ns)
    for k in range(window.promised, len(window.positions_rad)):
        executor.motion.stop_tick()
        np.testing.assert_allclose(executor.motion.joints.position, window.positions_rad[k], rtol=0, atol=1e-12)
        np.testing.assert_allclose(executor.motion.joints.velocity, window.velocities_rad_s[k], rtol=0, atol=1e-12)
    assert not executor.motion.joints.velocity.any()


def test_the_controller_follows_the_executor_exactly_at_every_tick():
    arm = RealArm()
    arm.activate()
    commands, seen = {}, {}

    def note():
        command = arm.outputs[-1].command if arm.outputs else None
        if command is not None:
            commands[command.stamp_ns] = command
        seen[arm.now_ns] = arm.desired[-1]

    arm.run(0.2, note)
    for speed in (0.3, -0.3, 0.2):
        arm.push(speed)
        arm.run(0.6, note)
    common = [stamp for stamp in commands if stamp in seen]
    assert len(common) > 400
    for stamp in common:
        np.testing.assert_allclose(seen[stamp][0], commands[stamp].positions_rad, rtol=0, atol=1e-9)
        np.testing.assert_allclose(seen[stamp][1], commands[stamp].velocities_rad_s, rtol=0, atol=1e-7)
    assert_within(arm)


@pytest.mark.parametrize("delay_ms", [0, 7, 15])
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_late_and_lost_windows_change_nothing(delay_ms, lost):
    arm = RealArm(delay_ms, lose=lambda k: k % 4 < lost)
    arm.move(0.3)
    arm.push(-0.3)
    arm.run(0.8)
    assert arm.status.state == "RUN"
    arm.until(lambda: arm.status.state == "HOLD" and not arm.moving, 2.0)
    assert_within(arm)


@pytest.mark.parametrize("when_ms", [0, 3, 9, 17])
def test_silence_of_the_executor_brings_the_arm_to_rest_within_the_limits(when_ms):
    arm = RealArm()
    arm.move(0.4)
    arm.run(when_ms * 1e-3)
    arm.stalled = True
    assert arm.until(lambda: not arm.moving) < LEAD_S + 0.4
    assert_within(arm)


@pytest.mark.parametrize("stall_ms", [20, 45])
def test_a_stall_shorter_than_the_lead_is_made_up_and_not_felt(stall_ms):
    arm = RealArm()
    arm.move(0.3)
    arm.stalled = True
    arm.run(stall_ms * 1e-3)
    arm.stalled = False
    arm.run(0.3)
    assert arm.status.state == "RUN"
    arm.run(1.5)
    assert_within(arm)


@pytest.mark.parametrize("stall_ms", [90, 130, 210, 350, 1500])
def test_after_a_longer_stall_the_executor_goes_on_where_the_controller_is(stall_ms):
    arm = RealArm()
    arm.move(0.3)
    arm.stalled = True
    arm.run(stall_ms * 1e-3)
    arm.stalled = False
    arm.until(lambda: arm.status.state == "LATCHED")
    assert arm.status.reason == "commands_late"
    arm.run(0.3)
    assert_within(arm)
    np.testing.assert_allclose(arm.executor.motion.joints.position, arm.joints, rtol=0, atol=1e-9)
    assert arm.executor.reset(arm.now_ns) is None
    arm.push(-0.2)
    arm.run(2.0)
    assert_within(arm)


@pytest.mark.parametrize("obeyed", [True, False])
def test_a_machine_that_slept_for_a_day_does_not_make_up_for_it(obeyed):
    arm = RealArm()
    arm.move(0.3)
    if not obeyed:
        arm.executor.controller.activity(False)
        arm.run(0.1)
    arm.now_ns += 86_400 * 10**9
    ticks = []
    stop_tick = arm.executor.motion.stop_tick
    arm.executor.motion.stop_tick = lambda: ticks.append(1) or stop_tick()
    arm.run(0.5)
    assert arm.status.state == "LATCHED"
    assert len(ticks) < 0.5 / TICK_S + 2 * LEAD_S / TICK_S
    assert not arm.moving
    if obeyed:
        np.testing.assert_allclose(arm.executor.motion.joints.position, arm.joints, rtol=0, atol=1e-9)


def losing_from(arm, count):
    """The next windows are lost."""
    sent = len(arm.windows)
    arm.lose = lambda k: sent < k <= sent + count


@pytest.mark.parametrize("when_ms", [0, 16])
@pytest.mark.parametrize("stall_ms", [30, 60, 90, 300])
def test_a_stall_right_after_a_lost_window_ends_in_a_stop_before_the_reference_can_jump(stall_ms, when_ms):
    """Nobody knows which of two windows the controller follows, so that none is sent that it could not join."""
    arm = RealArm()
    arm.move(0.3)
    arm.run(0.1)
    losing_from(arm, 1)
    sent = len(arm.windows)
    arm.until(lambda: len(arm.windows) > sent)
    arm.run(when_ms * 1e-3)
    arm.stalled = True
    arm.run(stall_ms * 1e-3)
    arm.stalled = False
    arm.run(1.0)
    stopped = arm.status.state == "LATCHED"
    assert stopped or stall_ms + when_ms <= 60
    assert arm.status.reason == ("commands_late" if stopped else "plan_ended")
    if stopped:
        assert arm.executor.reset(arm.now_ns) is None
        np.testing.assert_array_equal(arm.executor.motion.joints.position, arm.joints)
    arm.push(-0.2)
    arm.run(0.6)
    assert arm.moving
    assert_within(arm)


@pytest.mark.parametrize("when_ms", range(0, 20, 4))
def test_a_stop_is_said_until_it_begins_so_that_lost_windows_cannot_part_the_ways(when_ms):
    arm = RealArm()
    arm.move(0.4)
    arm.run(when_ms * 1e-3)
    losing_from(arm, 3)
    arm.executor.request_stop("requested", arm.now_ns)
    arm.until(lambda: arm.status.state == "LATCHED")
    arm.run(0.2)
    assert_within(arm)


@pytest.mark.parametrize(("stall_ms", "lost"), [(52, 2), (0, 4), (0, 5)])
def test_more_windows_lost_in_a_row_than_that_make_the_reference_jump_by_what_was_braked(stall_ms, lost):
    """The controller brakes while the executor does not know: by the transport of the next window, and its period for each further one."""
    jumps = []
    for when_ms in (0, 8, 16):
        arm = RealArm(delay_ms=15)
        arm.move(0.4)
        arm.run(when_ms * 1e-3)
        losing_from(arm, lost)
        sent = len(arm.windows)
        arm.until(lambda arm=arm, sent=sent: len(arm.windows) >= sent + min(lost, 2))
        arm.stalled = True
        arm.run(stall_ms * 1e-3)
        arm.stalled = False
        arm.run(0.8)
        q, v = (np.array([state[i] for state in arm.desired]) for i in (0, 1))
        jumps.append(np.abs(np.diff(q, axis=0) - 0.5e-3 * (v[1:] + v[:-1])).max(axis=0))
    unheard_s = TRANSPORT_S + TICK_S + 0.02 * (lost - 4 if lost > 2 else 0)
    assert (np.max(jumps, axis=0) <= arm.limits.acceleration_rad_s2 * unheard_s**2).all()
    assert np.max(jumps) > 2e-6


def test_a_stall_at_rest_is_no_fault():
    arm = RealArm()
    arm.activate()
    arm.run(0.2)
    arm.stalled = True
    arm.run(1.0)
    arm.stalled = False
    arm.run(0.1)
    assert arm.status.state == "HOLD"
    arm.push()
    arm.run(2.0)
    assert_within(arm)


@pytest.mark.parametrize("delay_ms", [0, 10, 18])
def test_a_stop_takes_back_what_was_promised(delay_ms):
    """It begins after the transport of one window, not after the lead."""
    arm = RealArm(delay_ms)
    arm.move(0.4)
    speed = np.abs(arm.desired[-1][1]).max()
    arm.executor.estop(True, arm.now_ns)
    slowing = arm.until(lambda: np.abs(arm.desired[-1][1]).max() < 0.97 * speed)
    assert slowing <= TRANSPORT_S + 2 * TICK_S + 0.03
    arm.until(lambda: not arm.moving)
    assert arm.status.reason == "estop"
    arm.run(0.3)
    assert_within(arm)
    np.testing.assert_allclose(arm.executor.motion.joints.position, arm.joints, rtol=0, atol=1e-9)


def test_a_stop_that_comes_right_after_another_window_or_in_a_stall_keeps_the_limits():
    for offset_ms in range(0, 24, 3):
        arm = RealArm()
        arm.move(0.4)
        arm.run(offset_ms * 1e-3)
        arm.executor.request_stop("requested", arm.now_ns)
        arm.stalled = True
        arm.run(offset_ms * 4e-3)
        arm.stalled = False
        arm.until(lambda arm=arm: arm.status.state == "LATCHED")
        arm.run(0.3)
        assert_within(arm)


def test_random_chunks_delays_losses_stalls_and_stops_never_break_a_limit():
    rng, lost = np.random.default_rng(5), [0]

    def lose(k):  # never two in a row
        if rng.random() < 0.2 and lost[-1] != k - 1:
            lost.append(k)
        return lost[-1] == k

    arm = RealArm(lose=lose)
    arm.activate()
    arm.run(0.2)
    for _ in range(40):
        arm.delay_ms = int(rng.integers(0, 18))
        if arm.status.state in ("HOLD", "RUN"):
            arm.executor.offer_chunk(arm.chunk(np.cumsum(rng.normal(0.0, 0.02, 24))), arm.now_ns)
        else:
            arm.run(1.0)
            assert arm.executor.reset(arm.now_ns) is None
        if rng.random() < 0.3:
            arm.stalled = True
            arm.run(float(rng.choice([0.03, 0.1, 0.3])))
            arm.stalled = False
        elif rng.random() < 0.2:
            arm.executor.request_stop("requested", arm.now_ns)
        arm.run(float(rng.uniform(0.05, 0.5)))
    assert sum(o.status.state == "RUN" for o in arm.outputs) > 100
    assert len(lost) > 50
    assert_within(arm)


def test_the_first_window_waits_for_the_arm_and_nothing_is_sent_before_or_after():
    arm = RealArm()
    arm.run(0.1)
    assert arm.windows == []
    arm.activate()
    arm.run(0.05)
    sent_ns, first = arm.windows[0]
    assert first.stamp_ns - sent_ns >= (LEAD_S - 2 * TICK_S) * 1e9
    np.testing.assert_array_equal(first.positions_rad[0], arm.robot.arms[0].home_rad)
    arm.executor.deactivate(arm.now_ns)
    arm.run(0.1)
    sent = len(arm.windows)
    arm.run(0.2)
    assert (arm.status.state, len(arm.windows)) == ("INACTIVE", sent)


def test_windows_come_at_their_rate():
    arm = RealArm()
    arm.activate()
    arm.run(1.0)
    assert 48 <= len(arm.windows) <= 52
    spacing = np.diff([sent for sent, _ in arm.windows[2:]]) / MS
    assert set(spacing.tolist()) <= {20.0, 16.0, 24.0}


def test_a_reset_waits_until_the_controller_has_come_to_rest():
    arm, answers = RealArm(), []
    arm.move()
    arm.executor.request_stop("test", arm.now_ns)
    arm.until(lambda: answers.append((arm.moving, arm.executor.reset(arm.now_ns))) or answers[-1][1] is None)
    assert len(answers) > 100
    assert not answers[-1][0]
    assert "come to rest" in answers[-2][1] or "LATCHED" in answers[-2][1]
    arm.run(0.3)
    assert not arm.moving
    assert_within(arm)


def test_a_deactivation_ends_when_the_controller_has_come_to_rest():
    arm = RealArm()
    arm.move()
    arm.executor.deactivate(arm.now_ns)
    arm.until(lambda: arm.status.state == "INACTIVE")
    assert not arm.moving
    arm.activate()
    arm.run(0.3)
    arm.push()
    arm.run(0.3)
    assert arm.moving
    assert_within(arm)


def test_motion_never_begins_before_the_controller_can_have_heard_of_it():
    arm = RealArm(delay_ms=15)
    arm.activate()
    arm.run(0.2)
    arm.executor.request_hold("requested", arm.now_ns)
    assert arm.executor.reset(arm.now_ns) is None
    told = len(arm.windows)
    arm.stalled = True  # from before the first window on, until shortly before the first command is due
    arm.run(0.03)
    arm.push()
    arm.run(LEAD_S - TRANSPORT_S / 2 - 0.03)
    arm.stalled = False
    arm.run(0.3)
    sent_ns, window = next(entry for entry in arm.windows[told:] if entry[1].velocities_rad_s.any())
    first = int(np.flatnonzero(window.velocities_rad_s.any(axis=1))[0])
    assert window.stamps_ns[first] - sent_ns >= TRANSPORT_S * 1e9
    assert_within(arm)
