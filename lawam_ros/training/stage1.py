"""Stage 1: the latent action between two frames and the world model that applies it, on frozen features."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from lawam_ros.contract.yaml_fields import Fields
from lawam_ros.model.latent_action_model import VaeBottleneck
from lawam_ros.model.lawam import LatentActionModel
from lawam_ros.training.losses import KL_WEIGHT, RECONSTRUCTIONS, kl_divergence, reconstruction_loss, state_change_loss


@dataclass(frozen=True)
class WorldModelOptions:
    """Losses of stage 1. loss_type: one of RECONSTRUCTIONS. lambda_aux: weight of the state change."""

    loss_type: str = "smooth_l1"
    lambda_aux: float = 1.0
    kl_weight: float = KL_WEIGHT


def world_model_options(section: Mapping[str, Any]) -> WorldModelOptions:
    """Options of the official latent-action yaml's keys; absent ones take the released values. Raises UserMistake naming a wrong one."""
    given, usual = Fields(section, "stage1"), WorldModelOptions()
    return WorldModelOptions(
        loss_type=given.choice("loss_type", RECONSTRUCTIONS) if given.has("loss_type") else usual.loss_type,
        lambda_aux=given.number("lambda_aux", 0.0, 1e6) if given.has("lambda_aux") else usual.lambda_aux,
        kl_weight=given.number("kl_beta", 0.0, 1e6) if given.has("kl_beta") else usual.kl_weight,
    )


@dataclass(frozen=True)
class WorldModelBatch:
    """B pairs of frames. features: (B, 2, N, F) at t and T as the encoder sees them, None to compute them from ``pair``. second: the same
    as the decoder sees them, None where both see the same. pair, second_pair: (B, 2, 3, S, S) uint8, None where features are given. state,
    change: (B, max_state_dim) normalised state at t and its change until T, state_mask booleans of the same shape. embodiment_id: (B,)."""

    features: Tensor | None
    state: Tensor
    change: Tensor
    state_mask: Tensor
    embodiment_id: Tensor
    second: Tensor | None = None
    pair: Tensor | None = None
    second_pair: Tensor | None = None

    def to(self, device: torch.device | str) -> "WorldModelBatch":
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(self, **{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})


class WorldModelLosses(nn.Module):
    """The losses of stage 1 as one module, which is what torch's distributed engine wraps."""

    def __init__(self, lam: LatentActionModel, options: WorldModelOptions) -> None:
        super().__init__()
        self.lam, self.options = lam, options

    def forward(self, batch: WorldModelBatch, noise: Tensor, step: int) -> dict[str, Tensor]:
        """Terms of :func:`world_model_losses`; noise (B, 1, code_dim)."""
        return world_model_losses(self.lam, batch, self.options, noise)


def world_model_losses(
    lam: LatentActionModel, batch: WorldModelBatch, options: WorldModelOptions, noise: Tensor | None
) -> dict[str, Tensor]:
    """Terms ``reconstruction``, ``divergence``, ``state`` and their weighted sum ``total``.

    noise: N(0, 1) of (B, 1, code_dim) for the bottleneck; None takes the posterior mean and leaves the divergence out, as in evaluation.
    """
    features, second = views_of(lam, batch)
    mean, log_variance = lam.vq(lam.encoder(features))
    code = mean if noise is None else VaeBottleneck.sample(mean, log_variance, noise)
    predicted = lam.decoder(second[:, 0], code)
    change = lam.state_decoder(code, batch.state * batch.state_mask, batch.embodiment_id) * batch.state_mask
    reconstruction = reconstruction_loss(predicted, second[:, 1], second[:, 0], options.loss_type)
    divergence = kl_divergence(mean, log_variance) if noise is not None else mean.new_zeros(())
    state = state_change_loss(change.float(), batch.change, batch.state_mask, batch.embodiment_id)
    total = reconstruction.total + options.kl_weight * divergence + options.lambda_aux * state
    return {"total": total, "reconstruction": reconstruction.logged, "divergence": divergence, "state": state}


def views_of(lam: LatentActionModel, batch: WorldModelBatch) -> tuple[Tensor, Tensor]:
    """Features (B, 2, N, F) as the encoder and as the decoder see them."""
    first = batch.features if batch.features is not None else _encode(lam, batch.pair)
    if batch.second is not None:
        return first, batch.second
    return first, first if batch.second_pair is None else _encode(lam, batch.second_pair)


def _encode(lam: LatentActionModel, frames: Tensor | None) -> Tensor:
    assert frames is not None, "a batch needs features or the pair of frames"
    return lam.vision_encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
