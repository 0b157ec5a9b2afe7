"""Stage 1: the latent action between two frames and the world model that applies it, on frozen features."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lawam_ros.model.latent_action_model import VaeBottleneck
from lawam_ros.model.lawam import LatentActionModel, LaWAM
from lawam_ros.training.losses import KL_WEIGHT, kl_divergence, reconstruction_loss, state_change_loss
from lawam_ros.training.run_state import NamedParameters


@dataclass(frozen=True)
class WorldModelBatch:
    """B pairs of frames. features: (B, 2, N, F) at t and T. state, change: (B, max_state_dim) normalised state at t and its change until T,
    state_mask booleans of the same shape. embodiment_id: (B,)."""

    features: Tensor
    state: Tensor
    change: Tensor
    state_mask: Tensor
    embodiment_id: Tensor


def world_model_losses(lam: LatentActionModel, batch: WorldModelBatch, generator: torch.Generator) -> dict[str, Tensor]:
    """Terms ``reconstruction``, ``divergence``, ``state`` and their weighted sum ``total``."""
    mean, log_variance = lam.vq(lam.encoder(batch.features))
    code = VaeBottleneck.sample(mean, log_variance, torch.randn(mean.shape, generator=generator))
    predicted = lam.decoder(batch.features[:, 0], code)
    change = lam.state_decoder(code, batch.state, batch.embodiment_id) * batch.state_mask
    reconstruction = reconstruction_loss(predicted, batch.features[:, 1])
    divergence = kl_divergence(mean, log_variance)
    state = state_change_loss(change.float(), batch.change, batch.state_mask, batch.embodiment_id)
    total = reconstruction + KL_WEIGHT * divergence + state
    return {"total": total, "reconstruction": reconstruction, "divergence": divergence, "state": state}


def stage1_parameters(model: LaWAM) -> NamedParameters:
    """What stage 1 trains: inverse-dynamics encoder, bottleneck, world model, state predictor."""
    trained = ("lam.encoder.", "lam.vq.", "lam.decoder.", "lam.state_decoder.")
    return {name: parameter for name, parameter in model.named_parameters() if name.startswith(trained)}
