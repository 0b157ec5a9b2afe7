"""Loss terms of both stages as plain functions of tensors."""

import torch
from torch import Tensor
from torch.nn import functional

SMOOTH_L1_BETA = 0.1
KL_WEIGHT = 5e-5
"""Weight of the Kullback-Leibler term of the bottleneck: default of the official code (the paper's text says 1e-5)."""

HUMAN_EMBODIMENT = 0


def masked_flow_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared velocity error averaged over the entries of ``mask`` (broadcastable booleans): valid steps of real dimensions of robots."""
    weight = mask.expand_as(target).to(predicted.dtype)
    return (weight * (predicted - target) ** 2).sum() / weight.sum().clamp_min(1.0)


def action_mask(valid_steps: Tensor, action_dim: int, embodiment_ids: Tensor, steps: int, width: int) -> Tensor:
    """Booleans (B, steps, width): step < valid_steps of the sample, dimension < action_dim, embodiment is not a human."""
    in_time = torch.arange(steps)[None, :, None] < valid_steps[:, None, None]
    in_width = torch.arange(width)[None, None, :] < action_dim
    return in_time & in_width & (embodiment_ids != HUMAN_EMBODIMENT)[:, None, None]


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Divergence from the unit normal, summed over the code, mean over everything before it."""
    return (0.5 * (mu**2 + logvar.exp() - 1.0 - logvar)).sum(dim=-1).mean()


def reconstruction_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 with beta 0.1, mean over all tokens and features."""
    return functional.smooth_l1_loss(predicted.float(), target.float(), beta=SMOOTH_L1_BETA)


def state_change_loss(predicted: Tensor, change: Tensor, mask: Tensor, embodiment_ids: Tensor) -> Tensor:
    """Squared error of the predicted normalised state change over masked dimensions; clips of humans do not count."""
    robots = (embodiment_ids != HUMAN_EMBODIMENT)[:, None]
    weight = (mask & robots).to(predicted.dtype)
    if not bool(weight.any()):
        return 0.0 * predicted.sum()
    return (weight * (predicted - change) ** 2).sum() / weight.sum()
