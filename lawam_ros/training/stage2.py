"""Stage 2: language adapter, query head, latent world model and action expert trained together on the frozen teacher of stage 1."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.flow_head import FlowContext
from lawam_ros.model.lawam import LaWAM
from lawam_ros.model.prompt import PromptBatch
from lawam_ros.training.losses import action_mask, masked_flow_loss
from lawam_ros.training.repeated_flow import repeated_velocity
from lawam_ros.training.run_state import NamedParameters
from lawam_ros.training.schedule import flow_target, interpolate, sample_flow_time, time_bucket


@dataclass(frozen=True)
class PolicyBatch:
    """B observations with what followed them.

    prompt and frames: as ``LaWAM.vlm_forward`` takes them. features, future_features: (B, N, F) of the first primary view now and at
    the end of the chunk. teacher: (B, 1, code_dim) latent action of the stage-1 encoder between the two. actions: (B, T, action_dim)
    normalised, zero-padded; ``action_dims`` of them are real. state: (B, state_dim) normalised. action_hz, embodiment_id: (B,).
    """

    prompt: PromptBatch
    frames: Tensor
    features: Tensor
    future_features: Tensor
    teacher: Tensor
    actions: Tensor
    action_dims: int
    state: Tensor
    action_hz: Tensor
    embodiment_id: Tensor


@dataclass(frozen=True)
class PolicyLossWeights:
    """perceptual: predicted against true future features. distill: latent action against the teacher's. repeats: noise samples each."""

    perceptual: float
    distill: float
    repeats: int


def loss_weights(config: ModelConfig) -> PolicyLossWeights:
    """Weights of the model file. Raises UserMistake where one is missing."""
    keys = ("perceptual_weight", "lam_encoder_distill_weight", "repeated_diffusion_steps")
    missing = [key for key in keys if key not in config.training]
    if missing:
        raise UserMistake(f"expected {', '.join(missing)} in the action_model section of the model file to train it")
    perceptual, distill, repeats = (config.training[key] for key in keys)
    return PolicyLossWeights(float(perceptual), float(distill), int(repeats))


def policy_losses(model: LaWAM, batch: PolicyBatch, weights: PolicyLossWeights, generator: torch.Generator) -> dict[str, Tensor]:
    """Terms ``flow``, ``perceptual``, ``distill`` and their weighted sum ``total``.

    The flow loss reaches everything but the world model: the action expert gets the predicted future without its gradient.
    """
    output = model.vlm_forward(batch.prompt, batch.frames)
    predicted = model.lam.decoder(batch.features, output.z)
    context = model.flow.context(batch.features, predicted.detach(), output.h_vlm, output.attention_mask)
    flow = _flow_loss(model, batch, weights.repeats, context, generator)
    perceptual = (predicted.float() - batch.future_features.float()).square().mean()
    distill = (output.z.float() - batch.teacher.float()).square().mean()
    total = flow + weights.perceptual * perceptual + weights.distill * distill
    return {"total": total, "flow": flow, "perceptual": perceptual, "distill": distill}


def _flow_loss(model: LaWAM, batch: PolicyBatch, repeats: int, context: FlowContext, generator: torch.Generator) -> Tensor:
    count, steps, width = batch.actions.shape
    actions = batch.actions[:, None].expand(-1, repeats, -1, -1)
    noise = torch.randn(actions.shape, generator=generator)
    tau = sample_flow_time(count * repeats, generator).reshape(count, repeats)
    velocity = repeated_velocity(
        model.flow, interpolate(noise, actions, tau), time_bucket(tau), context, batch.action_hz, batch.embodiment_id, batch.state
    )
    _, _, valid_steps = model.flow.time_grid(batch.action_hz, steps)
    mask = action_mask(valid_steps, batch.action_dims, batch.embodiment_id, steps, width)
    return masked_flow_loss(velocity.float(), flow_target(noise, actions), mask[:, None])


def stage2_parameters(model: LaWAM) -> NamedParameters:
    """What stage 2 trains: everything but the frozen encoder and the teacher. The token table too, since nothing is pretrained here."""
    frozen = ("lam.vision_encoder.", "lam.encoder.", "lam.vq.", "lam.state_decoder.")
    return {name: parameter for name, parameter in model.named_parameters() if not name.startswith(frozen)}
