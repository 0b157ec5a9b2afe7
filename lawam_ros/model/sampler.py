"""From noise to an action chunk: explicit Euler over the flow, left end points, uniform steps."""

from collections.abc import Callable

import torch
from torch import Tensor

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.flow_head import FlowContext, FlowHead


def denoising_buckets(steps: int, buckets: int = 1000) -> list[int]:
    """Bucket of every step: k / steps * buckets in double precision, truncated."""
    return [min(buckets - 1, int(k / steps * buckets)) for k in range(steps)]


@torch.no_grad()
def sample_actions(
    flow: FlowHead,
    context: FlowContext,
    noise: Tensor,
    action_hz: Tensor,
    embodiment_id: Tensor,
    state: Tensor | None = None,
    state_mask: Tensor | None = None,
    steps: int | None = None,
    guidance_scale: float = 1.0,
    unconditional: FlowContext | None = None,
    padded: bool = False,
    observe: Callable[[int, Tensor, Tensor, Tensor | None], None] | None = None,
) -> Tensor:
    """Normalised actions (B, n, action_dim), n the largest number of valid steps; all T rows if ``padded``.

    noise: N(0, 1) of shape (B, T, action_dim), drawn before the invalid rows are masked. All action_dim dimensions are integrated, also
    those a robot does not have: they feed back. guidance_scale other than 1 needs the ``unconditional`` context. observe: called in every
    step with its index, x before it, the conditional and the unconditional velocity.
    """
    config = flow.config
    expected = (context.batch, config.action_horizon, config.action_dim)
    if tuple(noise.shape) != expected:
        raise UserMistake(f"expected noise of shape {expected} (batch, action_horizon, action_dim), got {tuple(noise.shape)}")
    if guidance_scale != 1.0 and unconditional is None:
        raise UserMistake(f"guidance {guidance_scale} needs the unconditional context, got none")
    _, valid, count = flow.time_grid(action_hz)
    inputs = flow.chunk_inputs(config.action_horizon, action_hz, embodiment_id, state, state_mask)
    if int(count.min()) < 1:
        raise UserMistake(
            f"expected at least one action within {config.horizon_s} s, got a rate of {float(action_hz.min()):g} Hz; raise the rate"
        )
    steps = steps or config.num_inference_steps
    keep = valid[..., None].to(flow.dtype)
    x = noise.to(flow.dtype) * keep
    for step, bucket in enumerate(denoising_buckets(steps, config.num_timestep_buckets)):
        tau = torch.full((x.shape[0],), bucket, dtype=torch.long, device=x.device)
        velocity, without = flow.velocity_of(x, tau, context, inputs), None
        if unconditional is not None and guidance_scale != 1.0:
            without = flow.velocity_of(x, tau, unconditional, inputs)
        if observe is not None:
            observe(step, x, velocity, without)
        if without is not None:
            velocity = without + guidance_scale * (velocity - without)
        x = (x + (1.0 / steps) * (velocity * keep)) * keep
    return x if padded else x[:, : int(count.max())]
