"""Loss terms of both stages as plain functions of tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SMOOTH_L1_BETA = 0.1
CHARBONNIER_EPS = 1e-3
RECONSTRUCTIONS = ("smooth_l1", "l1", "l2", "cos", "charbonnier", "delta")
KL_WEIGHT = 5e-5
"""Weight of the Kullback-Leibler term of the bottleneck: default of the official code (the paper's text says 1e-5)."""

HUMAN_EMBODIMENT = 0


def masked_flow_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared velocity error averaged over the entries of ``mask`` (broadcastable booleans): valid steps of real dimensions of robots."""
    weight = mask.expand_as(target).to(predicted.dtype)
    return (weight * (predicted - target) ** 2).sum() / weight.sum().clamp_min(1.0)


def action_mask(valid_steps: Tensor, action_dims: Tensor, steps: int, width: int) -> Tensor:
    """Booleans (B, steps, width): step < valid_steps of the sample, dimension < action_dims of the sample; both (B,)."""
    in_time = torch.arange(steps, device=valid_steps.device)[None, :, None] < valid_steps[:, None, None]
    in_width = torch.arange(width, device=valid_steps.device)[None, None, :] < action_dims[:, None, None]
    return in_time & in_width


def latent_distance(predicted: Tensor, target: Tensor, kind: str) -> Tensor:
    """Distance of latent actions (B, 1, code_dim): "mse", or "cosine" (one minus the cosine, mean over the batch)."""
    predicted, target = predicted.float(), target.float()
    if kind == "cosine":
        return (1.0 - functional.cosine_similarity(predicted, target, dim=-1)).mean()
    return (predicted - target).square().mean()


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Divergence from the unit normal, summed over the code, mean over everything before it."""
    return (0.5 * (mu**2 + logvar.exp() - 1.0 - logvar)).sum(dim=-1).mean()


@dataclass(frozen=True)
class Reconstruction:
    """total: what is minimised; logged: the elementwise part of it."""

    total: Tensor
    logged: Tensor


def reconstruction_loss(predicted: Tensor, target: Tensor, start: Tensor, kind: str = "smooth_l1") -> Reconstruction:
    """Error of predicted future features, mean over all tokens and features (B, N, F).

    kind: "smooth_l1" (beta 0.1), "l1", "l2", "charbonnier" (eps 1e-3), "delta" (smooth L1, the prediction is the change from ``start``),
    "cos" (smooth L1 plus one minus the mean cosine).
    """
    predicted, target = predicted.float(), target.float()
    if kind == "delta":
        target = target - start.float()
    if kind == "l1":
        error = functional.l1_loss(predicted, target)
    elif kind == "l2":
        error = functional.mse_loss(predicted, target)
    elif kind == "charbonnier":
        error = ((predicted - target).square() + CHARBONNIER_EPS**2).sqrt().mean()
    else:
        error = functional.smooth_l1_loss(predicted, target, beta=SMOOTH_L1_BETA)
    if kind == "cos":
        return Reconstruction(error + 1.0 - functional.cosine_similarity(predicted, target, dim=-1).mean(), error)
    return Reconstruction(error, error)


def state_change_loss(predicted: Tensor, change: Tensor, mask: Tensor, embodiment_ids: Tensor) -> Tensor:
    """Squared error of the predicted normalised state change over masked dimensions; clips of humans do not count."""
    robots = (embodiment_ids != HUMAN_EMBODIMENT)[:, None]
    weight = (mask & robots).to(predicted.dtype)
    if not bool(weight.any()):
        return 0.0 * predicted.sum()
    return (weight * (predicted - change) ** 2).sum() / weight.sum()
