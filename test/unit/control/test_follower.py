"""The optional follower: limits hold with any wish, and ruckig, where it is installed, follows as the own law does."""

import dataclasses
import importlib.util

import numpy as np
import pytest

from lawam_ros.contract.errors import EnvironmentLacks
from lawam_ros.contract.load import load_contract
from lawam_ros.control.executor import ChunkExecutor
from lawam_ros.control.follower import ruckig_follower
from lawam_ros.control.limit_checker import check_commands
from lawam_ros.control.limiter import JointLimiter, with_reserve

DT = 0.004
INSTALLED = importlib.util.find_spec("ruckig") is not None
needs_ruckig = pytest.mark.skipif(not INSTALLED, reason="the optional library ruckig is not installed")


def followed(contract, follower, target, ticks=600):
    """States while the target (position, velocity, acceleration of the time) is tracked, judged."""
    arm = contract.robot.arms[0]
    limiter = JointLimiter(with_reserve(arm.limits), DT, follower)
    limiter.reset(arm.home_rad)
    states = [limiter.track(*target((k + 1) * DT)) for k in range(ticks)]
    stack = [np.array([getattr(s, name) for s in states]) for name in ("position", "velocity", "acceleration")]
    assert check_commands([4_000_000 * (k + 1) for k in range(ticks)], *stack, arm.limits) == []
    return stack


def wave(home):
    def target(t):
        return home + 0.15 * (1 - np.cos(2 * t)), np.full(7, 0.3 * np.sin(2 * t)), np.full(7, 0.6 * np.cos(2 * t))

    return target


def test_limits_hold_with_a_follower_that_wishes_madly(contract):
    rng, home = np.random.default_rng(3), contract.robot.arms[0].home_rad

    def mad(*_):
        return rng.normal(size=7) * rng.choice([1.0, 100.0, 1e6]) if rng.random() < 0.9 else None

    followed(contract, mad, wave(home), 3000)


@needs_ruckig
def test_ruckig_follows_a_wave_and_reaches_a_step(contract):
    arm = contract.robot.arms[0]
    follower = ruckig_follower(with_reserve(arm.limits), DT)
    position, _, _ = followed(contract, follower, wave(arm.home_rad))
    times = DT * np.arange(1, 601)
    assert np.abs(position - arm.home_rad - 0.15 * (1 - np.cos(2 * times))[:, None])[100:].max() < 1e-3
    goal, zero = arm.home_rad + 0.3, np.zeros(7)
    position, velocity, _ = followed(contract, follower, lambda t: (goal, zero, zero))
    own, _, _ = followed(contract, None, lambda t: (goal, zero, zero))
    assert np.abs(position[-1] - goal).max() < 1e-4 and (position <= goal + 1e-3).all()
    # From far away the library is the faster one.
    assert np.argmax(np.abs(position[:, 0] - goal[0]) < 0.01) <= np.argmax(np.abs(own[:, 0] - goal[0]) < 0.01)


@needs_ruckig
@pytest.mark.parametrize("fraction", [0.3, 1.0])
@pytest.mark.parametrize("step_rad", [1e-5, 1.6e-4, 1e-3, 0.1])
def test_with_ruckig_joints_rest_on_their_targets_from_near_and_far(fraction, step_rad):
    """A way of two ticks has no acceleration between them: seen at the ticks alone, it was never begun."""
    chosen = load_contract("franka_pick_place", None, [f"robot.arms.arm.limits.fraction={fraction}"])
    arm = chosen.robot.arms[0]
    goal, zero = arm.home_rad + step_rad, np.zeros(7)
    position, velocity, _ = followed(chosen, ruckig_follower(with_reserve(arm.limits), DT), lambda t: (goal, zero, zero))
    np.testing.assert_allclose(position[-1], goal, rtol=0, atol=1e-12)
    assert np.abs(velocity[-1]).max() < 1e-12


@needs_ruckig
def test_with_ruckig_a_slow_wave_is_followed_as_smoothly_as_without(contract):
    arm = contract.robot.arms[0]
    ways = [followed(contract, follower, wave(arm.home_rad)) for follower in (None, ruckig_follower(with_reserve(arm.limits), DT))]
    own, library = (np.abs(np.diff(acceleration[100:], axis=0)).max() for _, _, acceleration in ways)
    assert library <= 1.01 * own


@needs_ruckig
def test_the_executor_runs_with_ruckig(contract, urdf_text, new_bench, course):
    chosen = dataclasses.replace(contract, robot=dataclasses.replace(contract.robot, follower="ruckig"))
    bench = new_bench(chosen, urdf_text)
    bench.activate()
    start = bench.pose.position_m
    bench.offer(bench.chunk(bench.rows(course((np.arange(24) + 1) / 20 / 1.2)[:, None] * [0.05, 0.15, -0.1])))
    bench.run(3.0)
    assert bench.violations == []
    np.testing.assert_allclose(bench.pose.position_m, start + [0.05, 0.15, -0.1], atol=1e-3)


def test_without_the_library_the_choice_is_refused_in_a_sentence(contract, urdf_text, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    chosen = dataclasses.replace(contract, robot=dataclasses.replace(contract.robot, follower="ruckig"))
    with pytest.raises(EnvironmentLacks, match="pip install ruckig"):
        ChunkExecutor(chosen, urdf_text)
