"""Everything random in the flow loss of one batch, drawn beforehand, so that a loss is a function of its arguments."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lawam_ros.model.config import FlowConfig
from lawam_ros.training.policy_options import PolicyOptions


@dataclass(frozen=True)
class FlowDraws:
    """Draws for R noise samples of each of B observations.

    noise (B, R, T, action_dim). flow_time (B, R), or (B, R, T) with one time per token. prediction, drop (B, R): uniform numbers; the
    predicted future is used where ``prediction`` is below the scheduled probability, and no future where ``drop`` is below the
    guidance-dropout probability; None where the option is off. delay (B, R): clean tokens at the start of the chunk, None without trained
    real-time chunking.
    """

    noise: Tensor
    flow_time: Tensor
    prediction: Tensor | None = None
    drop: Tensor | None = None
    delay: Tensor | None = None

    def to(self, device: torch.device | str) -> "FlowDraws":
        names = ("noise", "flow_time", "prediction", "drop", "delay")
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in names if getattr(self, name) is not None}
        return replace(self, **moved)


def draw_flow(flow: FlowConfig, options: PolicyOptions, valid_steps: Tensor, generator: torch.Generator) -> FlowDraws:
    """Draws for a batch whose chunks have ``valid_steps`` (B,) steps; all on the CPU.

    A delay is uniform over 0..max_delay_steps, but leaves at least one step of the chunk to learn.
    """
    batch, repeats = len(valid_steps), options.repeats
    noise = torch.randn((batch, repeats, flow.action_horizon, flow.action_dim), generator=generator)
    times = (batch, repeats, flow.action_horizon) if flow.token_independent_noise else (batch, repeats)
    flow_time = sample_flow_time(flow, times, generator)
    prediction = torch.rand((batch, repeats), generator=generator) if options.scheduled else None
    drop = torch.rand((batch, repeats), generator=generator) if flow.cfg_drop_prob > 0.0 else None
    delay = None
    if options.max_delay_steps:
        most = torch.clamp(valid_steps.cpu() - 1, min=0, max=options.max_delay_steps)[:, None]
        delay = (torch.rand((batch, repeats), generator=generator) * (most + 1)).long().clamp(max=most)
    return FlowDraws(noise, flow_time, prediction, drop, delay)


def sample_flow_time(flow: FlowConfig, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Flow times ``tau = (1 - u) * noise_s`` with ``u ~ Beta(alpha, beta)``; the usual Beta(1.5, 1) puts most weight at the noise end."""
    if flow.noise_beta_beta == 1.0:
        u = torch.rand(int(np.prod(shape)), generator=generator).reshape(shape) ** (1.0 / flow.noise_beta_alpha)
    else:
        seed = int(torch.randint(2**62, (1,), generator=generator))
        u = torch.from_numpy(np.random.default_rng(seed).beta(flow.noise_beta_alpha, flow.noise_beta_beta, shape)).float()
    return (1.0 - u) * flow.noise_s


def untiled(values: Tensor, repeats: int) -> Tensor:
    """(R * B, ...) in the official order (the whole batch, then the whole batch again) to (B, R, ...)."""
    return values.unflatten(0, (repeats, -1)).transpose(0, 1)


def tiled(values: Tensor) -> Tensor:
    """The inverse of :func:`untiled`."""
    return values.transpose(0, 1).flatten(0, 1)
