"""Learning rate, seeds and the flow's noise schedule."""

import math

import pytest
import torch

from lawam_ros.training.schedule import (
    flow_target,
    interpolate,
    learning_rate,
    step_generators,
    step_seed,
    time_bucket,
)


def test_learning_rate_warms_up_and_falls_along_half_a_cosine():
    rates = [learning_rate(step, 110, 10, 1e-3, 0.1) for step in range(111)]
    assert rates[0] == pytest.approx(1e-4) and rates[9] == pytest.approx(1e-3)
    assert rates[10] == pytest.approx(1e-3)
    assert rates[60] == pytest.approx(1e-3 * (0.1 + 0.9 * 0.5))
    assert rates[110] == pytest.approx(1e-4)
    assert all(later <= earlier for earlier, later in zip(rates[10:], rates[11:], strict=False))
    assert learning_rate(500, 110, 10, 1e-3, 0.1) == pytest.approx(1e-4)


def test_the_official_warm_up_starts_at_zero():
    rates = [learning_rate(step, 110, 10, 1e-3, 0.1, warmup_offset=0) for step in range(12)]
    assert rates[:3] == pytest.approx([0.0, 1e-4, 2e-4]) and rates[10] == pytest.approx(1e-3)


def test_time_buckets_are_truncated():
    tau = torch.tensor([0.0, 0.0009, 0.0011, 0.4999, 0.999, 1.0])
    assert time_bucket(tau).tolist() == [0, 0, 1, 499, 999, 999]


def test_the_way_leads_from_noise_to_actions_at_constant_velocity():
    noise, actions = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    tau = torch.rand(2, 3)
    torch.testing.assert_close(interpolate(noise, actions, torch.zeros(2, 3)), noise)
    torch.testing.assert_close(interpolate(noise, actions, torch.ones(2, 3)), actions)
    rest = (1.0 - tau)[..., None, None]
    torch.testing.assert_close(interpolate(noise, actions, tau) + rest * flow_target(noise, actions), actions)


def test_generators_depend_on_seed_stage_and_step_only():
    draws = {}
    for key in ((1, "policy", 0), (1, "policy", 1), (1, "world_model", 0), (2, "policy", 0)):
        numbers, noise = step_generators(*key)
        again, again_noise = step_generators(*key)
        draws[key] = (numbers.integers(1 << 60), torch.randn(1, generator=noise).item())
        assert draws[key] == (again.integers(1 << 60), torch.randn(1, generator=again_noise).item())
    assert len(set(draws.values())) == 4
    assert all(0 <= step_seed(*key) < 2**63 for key in draws)
    assert math.isfinite(sum(draw[1] for draw in draws.values()))
