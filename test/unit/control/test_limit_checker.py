"""The look at all numbers of a command at once says what the closer look says."""

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.control.limiter import stacked_limits

LIMITS = {
    robot: stacked_limits([arm.limits for arm in load_contract(task, robot).robot.arms])
    for task, robot in (("franka_pick_place", "franka_panda"), ("franka_pick_place", "franka_fr3"), ("x1_towel_fold", "quanta_x1"))
}


def commands(limits, seed, size):
    """A random walk of accelerations, and what comes of them; size 1 uses the limits up and breaks them now and then."""
    random = np.random.default_rng(seed)
    step_s, at_ns = 0.004, 10**9
    q, v, a = 0.5 * (limits.upper_rad + limits.lower_rad), np.zeros(len(limits.upper_rad)), np.zeros(len(limits.upper_rad))
    for _ in range(400):
        a = np.clip(
            a + size * random.normal(0.0, 0.4, len(a)) * limits.jerk_rad_s3 * step_s,
            *(size * 1.02 * limits.acceleration_rad_s2 * s for s in (-1, 1)),
        )
        v = 0.95 * v + a * step_s
        q = q + v * step_s
        at_ns += 4_000_000 * int(random.choice([1, 1, 1, 2]))
        yield at_ns, q.copy(), v.copy(), a.copy()


@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("robot", LIMITS)
def test_violations_and_worst_shares_are_those_of_the_closer_look(robot, size, monkeypatch):
    quick, close = LimitChecker(LIMITS[robot]), LimitChecker(LIMITS[robot])
    monkeypatch.setattr(close, "_plainly_within", lambda now: False)
    for command in commands(LIMITS[robot], seed=3, size=size):
        assert quick.add(*command) == close.add(*command)
    assert (quick.commands, quick.violations) == (close.commands, close.violations)
    assert (quick.violations > 0) == (size > 1.0) or size == 1.0
    assert quick.worst == pytest.approx(close.worst, rel=1e-12)


def test_what_is_not_finite_or_goes_back_in_time_gets_the_closer_look():
    limits = LIMITS["franka_panda"]
    still = 0.5 * (limits.upper_rad + limits.lower_rad), np.zeros(7), np.zeros(7)
    checker = LimitChecker(limits)
    assert checker.add(10**9, *still) == checker.add(10**9 + 4_000_000, *still) == []
    assert [one.quantity for one in checker.add(10**9, *still)] == ["stamp"]
    assert "non_finite" in {one.quantity for one in checker.add(2 * 10**9, still[0] * np.nan, *still[1:])}
