"""Loss terms against their formulas written out."""

import pytest
import torch
from torch.nn import functional

from lawam_ros.training.losses import (
    action_mask,
    kl_divergence,
    latent_distance,
    masked_flow_loss,
    reconstruction_loss,
    state_change_loss,
)


def test_flow_loss_averages_over_the_mask_only():
    predicted, target = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    target[0, 0, 0] = 3.0
    mask = torch.zeros(2, 3, 4, dtype=torch.bool)
    mask[0, 0, :2] = True
    assert masked_flow_loss(predicted, target, mask).item() == pytest.approx((9.0 + 1.0) / 2)
    assert masked_flow_loss(predicted, target, torch.zeros_like(mask)).item() == 0.0


def test_flow_loss_spreads_a_mask_over_repeats():
    predicted, target = torch.zeros(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    mask = torch.rand(2, 1, 3, 4) > 0.5
    chosen = target[mask.expand_as(target)]
    assert masked_flow_loss(predicted, target, mask).item() == pytest.approx(chosen.square().mean().item(), rel=1e-5)


def test_action_mask_knows_time_and_width_of_every_sample():
    mask = action_mask(torch.tensor([2, 3]), torch.tensor([2, 4]), steps=3, width=4)
    assert mask.shape == (2, 3, 4)
    assert mask[0].sum() == 4 and mask[0, :2, :2].all()
    assert mask[1].all()


def test_divergence_of_the_unit_normal_is_zero():
    assert kl_divergence(torch.zeros(4, 1, 8), torch.zeros(4, 1, 8)).item() == 0.0
    mean, log_variance = torch.randn(4, 1, 8), torch.randn(4, 1, 8)
    ours = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0)).sum(-1).mean()
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected)


def test_reconstruction_is_smooth_l1_with_beta_a_tenth():
    predicted, target = torch.tensor([0.0, 0.0]), torch.tensor([0.05, 1.0])
    loss = reconstruction_loss(predicted, target, torch.zeros(2))
    assert loss.total.item() == loss.logged.item() == pytest.approx((0.5 * 0.05**2 / 0.1 + 1.0 - 0.05) / 2)
    assert reconstruction_loss(predicted.bfloat16(), target, torch.zeros(2)).total.dtype == torch.float32
    torch.testing.assert_close(loss.total, functional.smooth_l1_loss(predicted, target, beta=0.1))


def test_other_reconstruction_losses():
    predicted, target, start = (torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    error = predicted - target
    torch.testing.assert_close(reconstruction_loss(predicted, target, start, "l1").total, error.abs().mean())
    torch.testing.assert_close(reconstruction_loss(predicted, target, start, "l2").total, error.square().mean())
    torch.testing.assert_close(reconstruction_loss(predicted, target, start, "charbonnier").total, (error.square() + 1e-6).sqrt().mean())
    delta = functional.smooth_l1_loss(predicted, target - start, beta=0.1)
    torch.testing.assert_close(reconstruction_loss(predicted, target, start, "delta").total, delta)
    cosine = reconstruction_loss(predicted, target, start, "cos")
    expected = 1.0 - functional.cosine_similarity(predicted, target, dim=-1).mean()
    torch.testing.assert_close(cosine.total - cosine.logged, expected)


def test_latent_distances():
    predicted, target = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]]), torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
    assert latent_distance(predicted, target, "mse").item() == pytest.approx((1 + 1 + 0 + 1) / 4)
    assert latent_distance(predicted, target, "cosine").item() == pytest.approx((1.0 + 0.0) / 2)


def test_state_loss_leaves_humans_and_missing_dimensions_out():
    predicted = torch.ones(3, 4, requires_grad=True)
    change = torch.zeros(3, 4)
    mask = torch.tensor([True, True, False, False]).expand(3, 4)
    loss = state_change_loss(predicted, change, mask, torch.tensor([25, 0, 1]))
    loss.backward()
    assert loss.item() == 1.0
    assert torch.count_nonzero(predicted.grad) == 4 and not predicted.grad[1].any()
    only_humans = state_change_loss(predicted, change, mask, torch.zeros(3, dtype=torch.long))
    assert only_humans.item() == 0.0 and only_humans.requires_grad
