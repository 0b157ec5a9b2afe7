"""From noise to chunks on the packed head: Euler steps with guidance and real-time chunking."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lawam_ros.model.fast.head import DenoisingTables, HeadContext, HeadStack, denoising_tables, velocity
from lawam_ros.model.real_time_chunking import Jacobian, correction_weight
from lawam_ros.model.sampler import denoising_buckets

Field = Callable[[Tensor], Tensor]
"""Velocity of noisy chunks, both (N, n, A)."""
VelocityOf = Callable[[HeadStack, Tensor, DenoisingTables, HeadContext, Tensor | None], Tensor]
"""``velocity`` of the head, or the same compiled."""


@dataclass(frozen=True)
class Guide:
    """The committed part of the previous chunk as the loop needs it.

    target, mask (n, A). set_rows: leading rows that are set to the target instead of being guided (trained real-time chunking).
    """

    target: Tensor
    mask: Tensor
    set_rows: int
    max_weight: float
    prior_sigma: float
    jacobian: Jacobian


def chunk_tables(stack: HeadStack, steps: int, rows: int, action_hz: float, extra: int, clean_rows: int = 0) -> DenoisingTables:
    """Tables of ``steps`` Euler steps for ``rows`` actions of which the first ``clean_rows`` have flow time 1."""
    last = stack.flow.config.num_timestep_buckets - 1
    common = torch.tensor(denoising_buckets(steps, last + 1))[:, None]
    if not clean_rows:
        return denoising_tables(stack.flow, common, action_hz, extra)
    actions = common.repeat(1, rows)
    actions[:, :clean_rows] = last
    # Tokens before the actions take the rounded mean over the action tokens, as in training with one flow time per token.
    before = actions.float().mean(dim=1, keepdim=True).round().long().expand(-1, extra)
    return denoising_tables(stack.flow, torch.cat([before, actions], dim=1), action_hz, extra)


def denoise(
    stack: HeadStack,
    noise: Tensor,
    context: HeadContext,
    tables: DenoisingTables,
    prefix: Tensor | None,
    guidance_scale: float,
    guide: Guide | None,
    velocity_of: VelocityOf = velocity,
) -> Tensor:
    """Normalised actions (N, n, A) from noise of that shape. prefix: tokens before the actions, as :func:`velocity` takes them."""
    x, steps = noise, tables.steps
    for step in range(steps):
        tau = step / steps
        if guide is not None and guide.set_rows:
            x = torch.cat([guide.target[: guide.set_rows].expand(len(x), -1, -1), x[:, guide.set_rows :]], dim=1)

        def field(x: Tensor, step: int = step) -> Tensor:
            groups = velocity_of(stack, x, tables.at(step), context, prefix)
            return groups[0] if len(groups) == 1 else groups[1] + guidance_scale * (groups[0] - groups[1])

        if guide is None or guide.set_rows:
            v = field(x)
        else:
            weight = correction_weight(tau, guide.max_weight, guide.prior_sigma)
            v = _identity(field, x, tau, guide, weight) if guide.jacobian == "identity" else _exact(field, x, tau, guide, weight)
        x = torch.add(x, v, alpha=1.0 / steps)
    if guide is not None and guide.set_rows:
        x = torch.cat([guide.target[: guide.set_rows].expand(len(x), -1, -1), x[:, guide.set_rows :]], dim=1)
    return x


def _identity(field: Field, x: Tensor, tau: float, guide: Guide, weight: float) -> Tensor:
    v = field(x)
    return v + weight * (guide.mask * (guide.target - (x + (1.0 - tau) * v)))


def _exact(field: Field, x: Tensor, tau: float, guide: Guide, weight: float) -> Tensor:
    with torch.enable_grad():
        start = x.detach().requires_grad_(True)
        v = field(start)
        estimate = start + (1.0 - tau) * v
        error = (guide.mask * (guide.target - estimate)).detach()
        (gradient,) = torch.autograd.grad(estimate, start, error)
    return v.detach() + weight * gradient
