"""Velocity limits of the FR3 that depend on the position: the vendor's formula, the limiter under it, the judge of it."""

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.robot import VelocityEnvelope
from lawam_ros.control.guard import Guard, guard
from lawam_ros.control.limit_checker import LimitChecker, check_commands
from lawam_ros.control.limiter import JointLimiter, JointState, stacked_limits, with_reserve

DT = 0.004
DECELERATION = (6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0)
OFFSET = (0.6599, 0.2517, 0.2000, 0.3533, 0.5757, 0.4878, 0.4628)


@pytest.fixture(scope="module")
def fr3():
    return load_contract("franka_pick_place", "franka_fr3", ["task.robots=[franka_fr3]"]).robot


def full_limits():
    """Unscaled, with margin 0: what the vendor's robot enforces."""
    overrides = ["task.robots=[franka_fr3]", "robot.arms.arm.limits.fraction=1.0", "robot.arms.arm.limits.position_margin_rad=0.0"]
    return load_contract("franka_pick_place", "franka_fr3", overrides).robot.arms[0].limits


def test_the_fr3_moves_at_a_share_of_the_vendors_figures_within_both_generations_of_position_limits(fr3):
    limits = fr3.arms[0].limits
    np.testing.assert_allclose(limits.velocity_rad_s, 0.3 * np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26]))
    np.testing.assert_allclose(limits.acceleration_rad_s2, 3.0)
    np.testing.assert_allclose(limits.jerk_rad_s3, 1500.0)
    np.testing.assert_allclose(limits.upper_rad, np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159]) - 0.1)
    np.testing.assert_allclose(limits.lower_rad, np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159]) + 0.1)
    np.testing.assert_allclose(limits.envelope.share, 0.3)


def test_the_envelope_is_the_vendors_formula_by_hand():
    envelope = full_limits().envelope
    q = np.array([2.0, 1.0, -2.5, -1.0, 2.8, 0.6, 0.0])
    for j in range(7):
        up = max(0.0, -OFFSET[j] + np.sqrt(max(0.0, 2 * DECELERATION[j] * (envelope.upper_rad[j] - q[j]))))
        down = max(0.0, -OFFSET[j] + np.sqrt(max(0.0, 2 * DECELERATION[j] * (q[j] - envelope.lower_rad[j]))))
        assert envelope.upwards(q)[j] == pytest.approx(up)
        assert envelope.downwards(q)[j] == pytest.approx(down)
    assert envelope.upwards(np.full(7, 9.0)).max() == 0.0


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_joints_driven_at_their_bounds_keep_the_envelope_and_get_near_the_bounds(fr3, share):
    overrides = ["task.robots=[franka_fr3]", f"robot.arms.arm.limits.fraction={share}"]
    limits = load_contract("franka_pick_place", "franka_fr3", overrides).robot.arms[0].limits
    for sign in (1.0, -1.0):
        limiter = JointLimiter(with_reserve(limits), DT)
        limiter.reset(fr3.arms[0].home_rad)
        states = []
        for _ in range(2500):
            states.append(limiter.track(limiter.state.position + sign, sign * limits.velocity_rad_s, sign * np.full(7, 50.0)))
        stack = [np.array([getattr(s, name) for s in states]) for name in ("position", "velocity", "acceleration")]
        assert check_commands([4_000_000 * (k + 1) for k in range(2500)], *stack, limits) == []
        allowed = limits.envelope.upwards(stack[0]) if sign > 0 else limits.envelope.downwards(stack[0])
        used = np.abs(stack[1]) / np.maximum(allowed, 1e-3)
        # Otherwise nothing is put to the test. Joints 5 and 7 cannot brake as hard as the envelope falls, so they leave it some room.
        assert (used.max(axis=0) > 0.75).all() and (used.max(axis=0)[[0, 1, 2, 3, 5]] > 0.95).all()
        end = limits.upper_rad if sign > 0 else limits.lower_rad
        assert np.abs(stack[0][-1] - end).max() < 0.05


def test_judge_and_guard_find_what_breaks_it(fr3):
    limits = fr3.arms[0].limits
    q = limits.upper_rad.copy() - 1e-3
    v = np.zeros(7)
    v[1] = 1.05 * limits.envelope.upwards(q)[1]
    assert v[1] < limits.velocity_rad_s[1]
    found = LimitChecker(limits).add(0, q, v, np.zeros(7))
    assert [(f.quantity, f.joint) for f in found] == [("velocity_at_position", 1)]
    assert LimitChecker(limits).add(0, q, -v, np.zeros(7)) == []
    bad, good = JointState(q, v, np.zeros(7)), JointState(q, -v, np.zeros(7))
    assert guard(bad, bad, limits, DT) == Guard(limits, DT).failure(bad, bad) == "velocity"
    assert guard(good, good, limits, DT) is Guard(limits, DT).failure(good, good) is None


def test_robots_with_and_without_envelope_share_one_limiter(fr3, contract):
    both = stacked_limits([contract.robot.arms[0].limits, fr3.arms[0].limits])
    assert isinstance(both.envelope, VelocityEnvelope)
    assert np.isinf(both.envelope.upwards(np.zeros(14))[:7]).all()
    np.testing.assert_allclose(both.envelope.upwards(np.zeros(14))[7:], fr3.arms[0].limits.envelope.upwards(np.zeros(7)))
    limiter = JointLimiter(with_reserve(both), DT)
    limiter.reset(np.concatenate([contract.robot.arms[0].home_rad, fr3.arms[0].home_rad]))
    for _ in range(50):
        limiter.track(limiter.state.position + 1.0, np.ones(14), np.zeros(14))
    assert np.isfinite(limiter.state.position).all() and not limiter.standing
