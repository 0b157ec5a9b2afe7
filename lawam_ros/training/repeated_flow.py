"""The action expert on several noise samples per observation at once.

Flow matching profits from many noise samples, and they are cheap if the context is not repeated with them: all samples of an observation
become queries of one attention over its context. The result equals ``FlowHead.velocity`` on a context tiled once per sample.
"""

import torch
from torch import Tensor, nn

from lawam_ros.model.dit import DitBlock, KeyValue
from lawam_ros.model.flow_head import FlowContext, FlowHead
from lawam_ros.model.position_codes import physical_time_code


def repeated_velocity(
    flow: FlowHead,
    x: Tensor,
    tau_bucket: Tensor,
    context: FlowContext,
    action_hz: Tensor,
    embodiment_id: Tensor,
    state: Tensor | None = None,
    state_mask: Tensor | None = None,
) -> Tensor:
    """Velocity (B, R, T, action_dim) of noisy chunks x of the same shape, R samples of each of B observations.

    tau_bucket (B, R) integers, or (B, R, T) with one denoising time per token; action_hz, embodiment_id (B,); state, state_mask
    (B, state_dim); context of the B observations.
    """
    batch, repeats, length, width = x.shape
    time_s, valid, _ = flow.time_grid(action_hz, length)
    tokens = flow.action_encoder(x.reshape(batch, repeats * length, width), embodiment_id).unflatten(1, (repeats, length))
    tokens = tokens * valid[:, None, :, None]
    prefix = [part[:, None].expand(-1, repeats, -1, -1) for part in flow.prefix(batch, embodiment_id, state, state_mask)]
    extra = sum(part.shape[2] for part in prefix)
    if prefix:
        tokens = torch.cat([*prefix, tokens.to(prefix[0].dtype)], dim=2)
    if tau_bucket.ndim == 3 and extra:
        # Prefix tokens take the rounded mean bucket of the valid tokens, as in ``FlowHead.velocity``.
        mean = (tau_bucket * valid[:, None]).sum(dim=2) / valid.sum(dim=1).clamp(min=1)[:, None]
        tau_bucket = torch.cat([mean.round().to(tau_bucket.dtype)[..., None].expand(-1, -1, extra), tau_bucket], dim=2)
    time_code = torch.zeros_like(tokens[:, :1])
    if flow.config.use_action_positional_embeddings:
        time_code = nn.functional.pad(physical_time_code(time_s, tokens.shape[-1]) * valid[..., None], (0, 0, extra, 0))[:, None]
    output = _transform(flow, tokens, tau_bucket, time_code, context, nn.functional.pad(valid, (extra, 0), value=True))
    actions = output[:, :, extra:].flatten(1, 2)
    return flow.action_decoder(actions, embodiment_id).unflatten(1, (repeats, length))


def _transform(flow: FlowHead, x: Tensor, tau_bucket: Tensor, time_code: Tensor, context: FlowContext, valid: Tensor) -> Tensor:
    dit = flow.DiT
    embedding = dit.timestep_encoder(tau_bucket.flatten(1)).unflatten(1, (x.shape[1], -1))
    # A mask slows attention down and is needed only where something is invalid.
    self_mask = None if bool(valid.all()) else valid.repeat_interleave(x.shape[1], dim=0)[:, None, None, :]
    text_mask = None if context.text_mask is None else context.text_mask[:, None, None, :]
    for index, block in enumerate(dit.transformer_blocks):
        key_value = context.key_values[index]
        mask = self_mask if key_value is None else text_mask if index % dit.text_period == 0 else None
        x = _block(block, x, embedding, time_code, key_value, mask)
    shift, scale = dit.proj_out_1(nn.functional.silu(embedding)).chunk(2, dim=-1)
    return dit.proj_out_2(dit.norm_out(x) * (1 + scale) + shift)


def _block(block: DitBlock, x: Tensor, embedding: Tensor, time_code: Tensor, key_value: KeyValue | None, mask: Tensor | None) -> Tensor:
    y = block.norm1(x, embedding) + time_code
    if key_value is None:
        y = y.flatten(0, 1)
        attended = block.attn1(y, block.attn1.key_value(y), mask)
    else:
        attended = block.attn1(y.flatten(1, 2), key_value, mask)
    x = x + block.final_dropout(attended.reshape(x.shape))
    return x + block.ff(block.norm3(x))
