"""The latent world model for one latent action: every modulation from one matrix product."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lawam_ros.model.fast.dense import Dense, Norm, attend, heads_of, layer_norm, pack, pack_attention_input
from lawam_ros.model.latent_action_model import WorldModelDecoder


@dataclass(frozen=True)
class WorldModelBlock:
    qkv: Dense
    output: Dense
    up: Dense
    down: Dense


@dataclass(frozen=True)
class WorldModelStack:
    """code (N, dim): position table. modulation: one row of weights for all blocks, six vectors each."""

    input: Dense
    code: Tensor
    condition: Dense
    modulation: Dense
    blocks: tuple[WorldModelBlock, ...]
    heads: int
    output: Dense
    norm: Norm


def pack_world_model(decoder: WorldModelDecoder, dtype: torch.dtype) -> WorldModelStack:
    """Weights of the decoder."""
    blocks = tuple(
        WorldModelBlock(
            pack_attention_input(block.attn, dtype),
            pack([block.attn.out_proj], dtype),
            pack([block.ffn[0]], dtype),
            pack([block.ffn[3]], dtype),
        )
        for block in decoder.dec_layers
    )
    return WorldModelStack(
        input=pack([decoder.project_input], dtype),
        code=decoder.code,
        condition=pack([decoder.action_in_proj], dtype),
        modulation=pack([block.adaLN_modulation[1] for block in decoder.dec_layers], dtype),
        blocks=blocks,
        heads=decoder.dec_layers[0].attn.num_heads,
        output=pack([decoder.project_output], dtype),
        norm=layer_norm(decoder.last_ln),
    )


def predicted_features(stack: WorldModelStack, features: Tensor, latent_action: Tensor) -> Tensor:
    """Features now (N, F) and latent action (1, code_dim) to predicted features (N, F), float32."""
    vectors = stack.modulation(F.silu(stack.condition(latent_action).float())).float()
    table = vectors.view(len(stack.blocks), 6, 1, -1)
    hidden = (stack.input(features).float() + stack.code)[None]
    for block, (shift_a, scale_a, gate_a, shift_f, scale_f, gate_f) in zip(stack.blocks, table.unbind(0), strict=True):
        query, key, value = (heads_of(part, stack.heads) for part in block.qkv(_modulated(hidden, scale_a, shift_a)).chunk(3, dim=-1))
        hidden = torch.addcmul(hidden, block.output(attend(query, key, value)).float(), gate_a)
        wide = F.gelu(block.up(_modulated(hidden, scale_f, shift_f)))
        hidden = torch.addcmul(hidden, block.down(wide).float(), gate_f)
    return stack.norm(stack.output(hidden))[0]


def _modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), scale + 1.0)
