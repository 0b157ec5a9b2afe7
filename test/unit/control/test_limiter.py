import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lawam_ros.contract.robot import JointLimits
from lawam_ros.control.brake_profile import brake_accelerations
from lawam_ros.control.guard import guard
from lawam_ros.control.limit_checker import LimitChecker, check_commands
from lawam_ros.control.limiter import JointLimiter, JointState

DT = 0.004


def panda(contract) -> JointLimits:
    return contract.robot.arms[0].limits


def record(limiter, ticks, step, dt_ns=4_000_000):
    """Run ``step(k)`` and judge what comes out."""
    states = []
    for k in range(ticks):
        step(k)
        states.append(limiter.state)
    stack = [np.array([getattr(s, name) for s in states]) for name in ("position", "velocity", "acceleration")]
    return stack, check_commands([dt_ns * (k + 1) for k in range(ticks)], *stack, limiter.limits)


@given(
    velocity=st.floats(-3.0, 3.0),
    share=st.floats(-1.0, 1.0),
    limit=st.floats(0.5, 20.0),
    jerk_steps=st.floats(0.03, 3.0),
)
def test_a_stop_ends_exactly_at_rest_within_its_limits(velocity, share, limit, jerk_steps):
    start = share * limit
    stop = brake_accelerations(velocity, start, limit, jerk_steps * limit, DT)
    path = np.append(start, stop)
    assert np.abs(path).max() <= limit * (1 + 1e-9)
    assert np.abs(np.diff(path)).max(initial=0.0) <= jerk_steps * limit * (1 + 1e-9)
    assert path[-1] == 0.0 or len(stop) == 0
    assert velocity + DT * 0.5 * (path[:-1] + path[1:]).sum() == pytest.approx(0.0, abs=1e-9)
    # Never longer than the unlimited-jerk stop plus the time to swing the acceleration.
    swing = 3.0 / jerk_steps + 4
    assert len(stop) <= (abs(velocity) + limit * DT * swing) / limit / DT + swing + abs(share) / jerk_steps


def test_any_target_sequence_keeps_the_limits(contract):
    limits = panda(contract)
    rng = np.random.default_rng(11)
    for run in range(4):
        limiter = JointLimiter(limits, DT)
        limiter.reset(contract.robot.arms[0].home_rad)
        goal, speed, bend = limiter.state.position, np.zeros(7), np.zeros(7)

        def step(k, run=run, limiter=limiter):
            nonlocal goal, speed, bend
            if k % (1, 7, 60, 200)[run] == 0:
                goal = rng.uniform(limits.lower_rad - 1.0, limits.upper_rad + 1.0)
                speed = rng.normal(size=7) * rng.choice([0.0, 1.0, 10.0])
                bend = rng.normal(size=7) * rng.choice([0.0, 3.0, 100.0])
            if rng.random() < 0.02:
                limiter.brake()
            else:
                limiter.track(goal, speed, bend)

        _, violations = record(limiter, 1500, step)
        assert violations == []
        assert limiter.hits > 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    jerk_steps=st.floats(0.02, 4.0),
    acceleration=st.floats(0.5, 20.0),
    velocity=st.floats(0.05, 3.0),
    span=st.floats(0.01, 2.0),
    hold=st.integers(1, 80),
)
def test_limits_hold_for_any_robot(seed, jerk_steps, acceleration, velocity, span, hold):
    rng = np.random.default_rng(seed)
    one = np.ones(3)
    limits = JointLimits(-span * one, span * one, velocity * one, acceleration * one, jerk_steps * acceleration / DT * one)
    limiter = JointLimiter(limits, DT)
    limiter.reset(rng.uniform(-span, span, 3))
    goal = np.zeros(3)

    def step(k):
        nonlocal goal
        if k % hold == 0:
            goal = rng.uniform(-3 * span, 3 * span, 3)
        if rng.random() < 0.01:
            limiter.brake()
        else:
            limiter.track(goal, rng.normal(size=3) * rng.choice([0.0, velocity]), np.zeros(3))

    _, violations = record(limiter, 250, step)
    assert violations == []


def test_a_step_is_reached_without_overshoot_or_ringing(contract):
    limits, home = panda(contract), contract.robot.arms[0].home_rad
    for size in (0.003, 0.05, 0.4):
        limiter = JointLimiter(limits, DT)
        limiter.reset(home)
        goal, zero = home + size, np.zeros(7)
        (position, velocity, _), violations = record(limiter, 400, lambda k, x=limiter, g=goal, z=zero: x.track(g, z, z))
        assert violations == []
        assert np.all(position <= goal + 1e-9)
        assert np.all(velocity >= -1e-9)
        np.testing.assert_allclose(position[-1], goal, atol=1e-6)


def test_a_smooth_target_is_tracked_closely_and_quietly(contract):
    limits, home = panda(contract), contract.robot.arms[0].home_rad
    limiter = JointLimiter(limits, DT)
    limiter.reset(home)
    t = DT * np.arange(1, 1001)
    w, size = 2.0, 0.15
    goal = home + size * (1 - np.cos(w * t))[:, None]
    speed, bend = (size * w * np.sin(w * t))[:, None] * np.ones(7), (size * w * w * np.cos(w * t))[:, None] * np.ones(7)
    (position, _, acceleration), violations = record(limiter, 1000, lambda k: limiter.track(goal[k], speed[k], bend[k]))
    assert violations == []
    assert np.abs(position - goal)[300:].max() < 2e-5
    assert np.abs(np.diff(acceleration[300:], axis=0)).max() < 1.3 * size * w**3 * DT
    assert limiter.hits <= 30


def test_a_joint_driven_at_full_speed_into_its_limit_stops_before_it(contract):
    limits, home = panda(contract), contract.robot.arms[0].home_rad
    for sign in (1, -1):
        limiter = JointLimiter(limits, DT)
        limiter.reset(home)
        stack, violations = record(
            limiter, 3000, lambda k, x=limiter, s=sign: x.track(x.state.position + s, s * limits.velocity_rad_s, s * np.full(7, 50.0))
        )
        assert violations == []
        end = limits.upper_rad if sign > 0 else limits.lower_rad
        assert np.abs(stack[0][-1] - end).max() < 0.02


def test_brake_from_full_speed_is_the_largest_deceleration_and_ends_in_exact_rest(contract):
    limits, home = panda(contract), contract.robot.arms[0].home_rad
    limiter = JointLimiter(limits, DT)
    limiter.reset(home)
    while np.abs(limiter.state.velocity[0]) < 0.6:
        limiter.track(home + 2.0, limits.velocity_rad_s, np.zeros(7))
    speed = limiter.state.velocity.copy()
    ticks = 0
    while not limiter.standing:
        limiter.brake()
        ticks += 1
    assert ticks * DT <= (speed / limits.acceleration_rad_s2).max() + 4 * DT
    place = limiter.state.position
    limiter.brake()
    assert np.array_equal(limiter.state.position, place)


def test_reset_outside_the_limits_is_refused(contract):
    limiter = JointLimiter(panda(contract), DT)
    with pytest.raises(ValueError, match="within"):
        limiter.reset(panda(contract).upper_rad + 0.01)


# The independent checker and the guard


def at_speed(limits, ticks=6, velocity=0.3):
    stamps = [4_000_000 * k for k in range(ticks)]
    v = np.full((ticks, 7), velocity)
    q = np.mean([limits.lower_rad, limits.upper_rad], axis=0) + velocity * DT * np.arange(ticks)[:, None]
    return stamps, q, v, np.zeros((ticks, 7))


def test_checker_passes_a_uniform_motion_and_its_gaps(contract):
    limits = panda(contract)
    stamps, q, v, a = at_speed(limits)
    assert check_commands(stamps, q, v, a, limits) == []
    late = [s + (40_000_000 if k > 2 else 0) for k, s in enumerate(stamps)]
    assert check_commands(late, q, v, a, limits) == []


@pytest.mark.parametrize(
    ("quantity", "spoil"),
    [
        ("position", lambda q, v, a, lim: q.__setitem__((slice(None), 2), lim.upper_rad[2] + 1e-3)),
        ("velocity", lambda q, v, a, lim: v.__setitem__((slice(None), 2), lim.velocity_rad_s[2] * 1.001)),
        ("acceleration", lambda q, v, a, lim: a.__setitem__((slice(None), 2), lim.acceleration_rad_s2[2] * 1.001)),
        ("velocity_difference", lambda q, v, a, lim: q.__setitem__((slice(3, None), 2), q[3:, 2] + lim.velocity_rad_s[2] * DT)),
        (
            "acceleration_difference",
            lambda q, v, a, lim: v.__setitem__((slice(3, None), 2), v[3:, 2] - lim.acceleration_rad_s2[2] * DT * 1.01),
        ),
    ],
)
def test_checker_finds_each_violation_by_name_and_joint(contract, quantity, spoil):
    limits = panda(contract)
    stamps, q, v, a = at_speed(limits)
    spoil(q, v, a, limits)
    found = check_commands(stamps, q, v, a, limits)
    assert {(f.quantity, f.joint) for f in found} == {(quantity, 2)}


def test_checker_finds_jerk_and_bad_stamps_and_nan(contract):
    limits = dataclasses.replace(panda(contract), jerk_rad_s3=np.full(7, 100.0))
    stamps, q, v, a = at_speed(limits)
    a[3:, 1] = 0.41
    assert [(f.quantity, f.joint) for f in check_commands(stamps, q, v, a, limits)] == [("jerk_difference", 1)]
    a[3:, 1] = 0.39
    assert check_commands(stamps, q, v, a, limits) == []
    stamps[4] = stamps[3]
    assert [f.quantity for f in check_commands(stamps, q, v, a, limits)] == ["stamp"]
    checker = LimitChecker(limits)
    checker.add(0, q[0], v[0], a[0])
    assert checker.add(0, q[0], v[0], a[0]) == []
    assert [f.quantity for f in checker.add(4_000_000, np.full(7, np.nan), v[0], a[0])] == ["non_finite"] * 7
    checker.restart()
    assert checker.add(4_000_000, q[0] + 0.2, v[0], a[0]) == []
    assert (checker.commands, checker.violations) == (4, 7)


@pytest.mark.parametrize(
    ("field", "amount", "verdict"),
    [
        ("position", np.nan, "non_finite"),
        ("position", 9.0, "position"),
        ("velocity", 9.0, "velocity"),
        ("acceleration", 99.0, "acceleration"),
    ],
)
def test_guard_names_what_is_wrong(contract, field, amount, verdict):
    limits, home, zero = panda(contract), contract.robot.arms[0].home_rad, np.zeros(7)
    good = JointState(home, zero, zero)
    assert guard(good, good, limits, DT) is None
    bad = good._replace(**{field: getattr(good, field) + amount * np.eye(7)[4]})
    assert guard(bad, good, limits, DT) == verdict
    slow_jerk = dataclasses.replace(limits, jerk_rad_s3=np.ones(7))
    assert guard(good._replace(acceleration=zero + 0.1), good, slow_jerk, DT) == "jerk"


def test_where_the_velocity_limit_is_no_matter_it_changes_nothing(contract):
    """The short way is taken far from the velocity limit; the long one, which is always right, gives the same bits."""
    limits = panda(contract)
    short, long = JointLimiter(limits, DT), JointLimiter(limits, DT)
    long._free_speed = np.full(7, -np.inf)
    rng, zero = np.random.default_rng(4), np.zeros(7)
    goal, fast = contract.robot.arms[0].home_rad, []
    for limiter in (short, long):
        limiter.reset(goal)
    for _ in range(200):
        goal = np.clip(goal + rng.normal(0.0, rng.choice([0.005, 0.2]), 7), limits.lower_rad, limits.upper_rad)
        for _ in range(int(rng.integers(5, 120))):
            one, other = short.track(goal, zero, zero), long.track(goal, zero, zero)
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
            fast.append((np.abs(one.velocity) > short._free_speed).any())
    assert 0.1 < np.mean(fast) < 0.9
