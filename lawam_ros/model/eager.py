"""The released computation, transcribed plainly for one observation: what the engine is measured against.

All T rows of a chunk are denoised, every cross-attention block projects keys and values of the whole context in every step and masks the
half it does not read, modulations and embodiment weights are looked up in every step, DINOv3 runs to its end, guidance is a second pass.
Language model by the base model's own modules. Only what would be another algorithm is left out: image files, tokenisation, host checks.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lawam_ros.model.dit import AlternateVLDiT
from lawam_ros.model.flow_head import FlowHead
from lawam_ros.model.latent_action_model import WorldModelDecoder
from lawam_ros.model.lawam import LaWAM
from lawam_ros.model.position_codes import physical_time_code
from lawam_ros.model.prompt import PromptBatch
from lawam_ros.model.sampler import denoising_buckets
from lawam_ros.model.vision_encoder import DinoEncoder


@dataclass(frozen=True)
class EagerInputs:
    """One observation. frames uint8 or float 0..255 (V, 3, S, S); noise (1, T, action_dim); action_hz, embodiment_id (1,); state and its
    mask (1, state_dim) or None."""

    prompt: PromptBatch
    frames: Tensor
    noise: Tensor
    action_hz: Tensor
    embodiment_id: Tensor
    state: Tensor | None = None
    state_mask: Tensor | None = None


def on_device(given: EagerInputs, device: torch.device) -> EagerInputs:
    """All tensors on ``device``."""
    tensors = {name: getattr(given, name) for name in ("frames", "noise", "action_hz", "embodiment_id", "state", "state_mask")}
    moved = {name: tensor.to(device) for name, tensor in tensors.items() if tensor is not None}
    return replace(given, prompt=given.prompt.to(device), **moved)


def read_language(model: LaWAM, given: EagerInputs) -> tuple[Tensor, Tensor]:
    """Language states h_vlm (1, L, D) and latent action z (1, 1, code_dim)."""
    output = model.vlm_forward(given.prompt, given.frames)
    return output.h_vlm, output.z


def read_image(model: LaWAM, given: EagerInputs) -> Tensor:
    """Features h_t (1, N, F) of the first image."""
    encoder = model.lam.vision_encoder
    if not isinstance(encoder, DinoEncoder):
        return encoder(given.frames[:1])
    states = encoder.model(encoder.normalise(given.frames[:1]), output_hidden_states=True).hidden_states
    patches = states[-2][:, 1 + encoder.model.config.num_register_tokens :]
    return F.layer_norm(patches, patches.shape[-1:])


def foresee(decoder: WorldModelDecoder, h_t: Tensor, z: Tensor) -> Tensor:
    """Subgoal h_t1 (1, N, F)."""
    condition = decoder.action_in_proj(z.flatten(1))
    x = decoder.project_input(h_t) + decoder.code
    for block in decoder.dec_layers:
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = block.adaLN_modulation(condition)[:, None].chunk(6, dim=-1)
        y = block.norm1(x) * (1 + scale_a) + shift_a
        x = x + gate_a * _attention(block.attn, y)
        x = x + gate_f * block.ffn(block.norm2(x) * (1 + scale_f) + shift_f)
    return decoder.last_ln(decoder.project_output(x))


def _attention(attention: nn.MultiheadAttention, y: Tensor) -> Tensor:
    query, key, value = (
        part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for part in F.linear(y, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    )
    weights = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5, dim=-1)
    return attention.out_proj((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))


def act(flow: FlowHead, given: EagerInputs, h_t: Tensor, h_t1: Tensor, h_vlm: Tensor, steps: int, guidance_scale: float = 1.0) -> Tensor:
    """Normalised actions (1, T, action_dim), zero beyond the valid steps."""
    time_s, valid, _ = flow.time_grid(given.action_hz)
    keep = valid[..., None].float()
    x = given.noise * keep
    for bucket in denoising_buckets(steps, flow.config.num_timestep_buckets):
        tau = torch.full((1,), bucket, device=x.device)
        velocity = _velocity(flow, given, x, tau, time_s, valid, h_t, h_t1, h_vlm)
        if guidance_scale != 1.0:
            without = _velocity(flow, given, x, tau, time_s, valid, h_t, flow.cfg_embeddings, h_vlm)
            velocity = without + guidance_scale * (velocity - without)
        x = (x + (1.0 / steps) * (velocity * keep)) * keep
    return x


def _velocity(
    flow: FlowHead, given: EagerInputs, x: Tensor, tau: Tensor, time_s: Tensor, valid: Tensor, h_t: Tensor, h_t1: Tensor, h_vlm: Tensor
) -> Tensor:
    context = torch.cat([h_t, h_t1, flow.enc_vlm(h_vlm)], dim=1)
    is_text = torch.arange(context.shape[1], device=x.device) >= 2 * h_t.shape[1]
    tokens = flow.action_encoder(x, given.embodiment_id) * valid[..., None]
    time_code = physical_time_code(time_s, tokens.shape[-1]) * valid[..., None]
    if not flow.config.use_action_positional_embeddings:
        time_code = torch.zeros_like(time_code)
    before = flow.prefix(1, given.embodiment_id, given.state, given.state_mask)
    extra = sum(part.shape[1] for part in before)
    tokens = torch.cat([*before, tokens], dim=1)
    output = _transformer(flow.DiT, tokens, tau, F.pad(time_code, (0, 0, extra, 0)), context, is_text, F.pad(valid, (extra, 0), value=True))
    return flow.action_decoder(output[:, extra:], given.embodiment_id)


def _transformer(
    dit: AlternateVLDiT, x: Tensor, tau: Tensor, time_code: Tensor, context: Tensor, is_text: Tensor, token_mask: Tensor
) -> Tensor:
    embedding = dit.timestep_encoder(tau)
    for index, block in enumerate(dit.transformer_blocks):
        y = block.norm1(x, embedding) + time_code
        if index % 2:
            read, mask = y, token_mask[0]
        else:
            read, mask = context, is_text if index % dit.text_period == 0 else ~is_text
        x = x + block.attn1(y, block.attn1.key_value(read), mask[None, None, None, :])
        x = x + block.ff(block.norm3(x))
    shift, scale = dit.proj_out_1(F.silu(embedding)).chunk(2, dim=-1)
    return dit.proj_out_2(dit.norm_out(x) * (1 + scale) + shift)


def eager_chunk(model: LaWAM, given: EagerInputs, steps: int, guidance_scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Actions (1, T, action_dim) and features h_t, h_t1 (1, N, F)."""
    h_vlm, z = read_language(model, given)
    h_t = read_image(model, given)
    h_t1 = foresee(model.lam.decoder, h_t, z)
    return act(model.flow, given, h_t, h_t1, h_vlm, steps, guidance_scale), h_t, h_t1
