"""Stage 2: language adapter, query head, latent world model and action expert trained together on the frozen teacher of stage 1."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from lawam_ros.model.flow_head import FlowContext
from lawam_ros.model.lawam import LaWAM, VlmOutput
from lawam_ros.model.prompt import PromptBatch
from lawam_ros.training.flow_draws import FlowDraws
from lawam_ros.training.frozen_context import FrozenContext
from lawam_ros.training.losses import HUMAN_EMBODIMENT, latent_distance, masked_flow_loss
from lawam_ros.training.policy_options import PolicyOptions
from lawam_ros.training.repeated_flow import repeated_velocity
from lawam_ros.training.schedule import flow_target, interpolate, time_bucket


@dataclass(frozen=True)
class PolicyBatch:
    """B observations with what followed them.

    prompt and frames: as ``LaWAM.vlm_forward`` takes them. features: (B, 2, N, F) of the first primary view now and at the end of the
    chunk, None to compute them from ``pair``. pair: (B, 2, 3, S, S) uint8, None where features are given. teacher: (B, 1, code_dim) latent
    action of the stage-1 encoder between the two, None to compute it. actions: (B, T, action_dim) normalised, zero-padded; action_mask:
    which of it exists. state: (B, state_dim) normalised, state_mask likewise. action_hz, embodiment_id: (B,). context: what the action
    expert reads, None to compute it from prompt, frames and features.
    """

    prompt: PromptBatch
    frames: Tensor
    features: Tensor | None
    pair: Tensor | None
    teacher: Tensor | None
    actions: Tensor
    action_mask: Tensor
    state: Tensor
    state_mask: Tensor
    action_hz: Tensor
    embodiment_id: Tensor
    context: FrozenContext | None = None

    def to(self, device: torch.device | str) -> "PolicyBatch":
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
        context = self.context.to(device) if self.context is not None else None
        return replace(self, prompt=self.prompt.to(device), context=context, **moved)


@dataclass(frozen=True)
class PolicyTrace:
    """What one forward pass of stage 2 computed. condition: (B, R, N, F), or (B, 1, N, F) where all noise samples share it; velocity:
    (B, R, T, action_dim)."""

    language: VlmOutput
    features: Tensor
    predicted: Tensor
    teacher: Tensor | None
    condition: Tensor
    velocity: Tensor
    losses: dict[str, Tensor]


class PolicyLosses(nn.Module):
    """The losses of stage 2 as one module, which is what torch's distributed engine wraps."""

    def __init__(self, model: LaWAM, options: PolicyOptions) -> None:
        super().__init__()
        self.model, self.options = model, options

    def forward(self, batch: PolicyBatch, draws: FlowDraws, step: int) -> dict[str, Tensor]:
        """Terms ``flow``, ``perceptual``, ``distill`` and their weighted sum ``total``; ``step`` counts optimiser steps."""
        return policy_trace(self.model, batch, self.options, draws, step).losses


def policy_trace(model: LaWAM, batch: PolicyBatch, options: PolicyOptions, draws: FlowDraws, step: int = 0) -> PolicyTrace:
    """Forward pass and losses of one batch with given draws; every random number of it is in ``draws`` (dropout aside)."""
    features = model.features_of(batch.features, batch.pair)
    if batch.context is not None:
        known = batch.context
        language, predicted = VlmOutput(known.hidden, known.z, None if bool(known.mask.all()) else known.mask), known.predicted
    else:
        language = model.vlm_forward(batch.prompt, batch.frames)
        predicted = model.foresee(features[:, 0], language.z)
    condition = future_condition(predicted, features[:, 1], options, draws, step, model.training)
    velocity, flow = _flow_loss(model, batch, options, draws, language, features[:, 0], condition)
    perceptual = (predicted.float() - features[:, 1].float()).square().mean()
    teacher, distill = None, language.z.new_zeros(())
    if options.distillation:
        teacher = batch.teacher if batch.teacher is not None else model.lam.teacher_latent(features)
        distill = latent_distance(language.z, teacher, options.latent_loss)
    total = flow + options.perceptual * perceptual + options.distill * distill
    losses = {"total": total, "flow": flow, "perceptual": perceptual, "distill": distill}
    return PolicyTrace(language, features, predicted, teacher, condition, velocity, losses)


def future_condition(predicted: Tensor, true: Tensor, options: PolicyOptions, draws: FlowDraws, step: int, training: bool) -> Tensor:
    """Future features the action expert reads, (B, R, N, F) or (B, 1, N, F): the predicted ones, with scheduled sampling sometimes the
    true ones.

    Where the prediction is not detached, a true future carries the gradient as if it were the predicted one.
    """
    source = predicted.detach() if options.detach_future else predicted
    if options.scheduled is None or not training:
        return source[:, None]
    assert draws.prediction is not None
    use_prediction = (draws.prediction < options.scheduled.probability(step))[..., None, None]
    instead = true.to(source.dtype)
    if not options.detach_future:
        instead = source + (instead - source).detach()
    return torch.where(use_prediction, source[:, None], instead[:, None])


def detach_up_to_actions(hidden: Tensor, act_mask: Tensor) -> Tensor:
    """hidden (B, L, D) without gradient up to and including the last action placeholder of each row."""
    before = act_mask.flip(1).cumsum(1).flip(1) > 0
    return torch.where(before[..., None], hidden.detach(), hidden)


def _flow_loss(
    model: LaWAM,
    batch: PolicyBatch,
    options: PolicyOptions,
    draws: FlowDraws,
    language: VlmOutput,
    h_t: Tensor,
    condition: Tensor,
) -> tuple[Tensor, Tensor]:
    """Velocity (B, R, T, action_dim) and the masked flow-matching loss."""
    flow, repeats = model.flow, draws.noise.shape[1]
    actions = batch.actions[:, None]
    tau, mask = draws.flow_time, (batch.action_mask & (batch.embodiment_id != HUMAN_EMBODIMENT)[:, None, None])[:, None]
    if draws.delay is not None:
        clean = torch.arange(actions.shape[2], device=actions.device) < draws.delay[..., None]
        tau = torch.where(clean, 1.0, tau if tau.ndim == 3 else tau[..., None])
        mask = mask & ~clean[..., None]
    x, bucket = interpolate(draws.noise, actions, tau), time_bucket(tau, flow.config.num_timestep_buckets)
    hidden = detach_up_to_actions(language.h_vlm, batch.prompt.act_mask) if options.flow_only else language.h_vlm
    drop = draws.drop < flow.config.cfg_drop_prob if draws.drop is not None and model.training else None
    with torch.autocast(x.device.type, enabled=torch.is_autocast_enabled(x.device.type) and not options.flow_float32):
        if condition.shape[1] == 1 and drop is None:
            context = flow.context(h_t, condition[:, 0], hidden, language.attention_mask)
            velocity = repeated_velocity(flow, x, bucket, context, batch.action_hz, batch.embodiment_id, batch.state, batch.state_mask)
        else:
            context = _own_context(model, repeats, h_t, condition, hidden, language.attention_mask, drop)
            rows = [value.repeat_interleave(repeats, 0) for value in (batch.action_hz, batch.embodiment_id, batch.state, batch.state_mask)]
            velocity = repeated_velocity(flow, x.flatten(0, 1)[:, None], bucket.flatten(0, 1)[:, None], context, *rows)
            velocity = velocity.reshape(x.shape)
    return velocity, masked_flow_loss(velocity.float(), flow_target(draws.noise, actions), mask)


def _own_context(
    model: LaWAM, repeats: int, h_t: Tensor, condition: Tensor, hidden: Tensor, mask: Tensor | None, drop: Tensor | None
) -> FlowContext:
    """A context per noise sample, observation by observation, because their futures differ."""
    futures = condition.expand(-1, repeats, -1, -1).flatten(0, 1)
    repeated = [None if value is None else value.repeat_interleave(repeats, 0) for value in (h_t, hidden, mask)]
    assert repeated[0] is not None and repeated[1] is not None
    return model.flow.context(repeated[0], futures, repeated[1], repeated[2], None if drop is None else drop.flatten())
