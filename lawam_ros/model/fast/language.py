"""The language layers for one unpadded prompt: causal attention on plain positions, image features added after the first layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.fast.dense import Dense, Rotary, attend, heads_of, pack, rotary


@dataclass(frozen=True)
class LanguageLayer:
    """Weights of one layer; norms scale only (RMS)."""

    norm_attention: Tensor
    qkv: Dense
    norm_query: Tensor
    norm_key: Tensor
    output: Dense
    norm_mlp: Tensor
    gate_up: Dense
    down: Dense


@dataclass(frozen=True)
class LanguageStack:
    """All layers. heads, key_heads: of queries and of keys and values; eps: of every norm."""

    layers: tuple[LanguageLayer, ...]
    norm: Tensor
    heads: int
    key_heads: int
    head_dim: int
    eps: float


def pack_language(text: nn.Module, dtype: torch.dtype) -> LanguageStack:
    """Weights of a Qwen3-VL text model. Raises UserMistake for an activation other than SiLU."""
    config = text.config
    if config.hidden_act != "silu":
        raise UserMistake(f"base model: expected hidden_act silu, got {config.hidden_act}; this engine knows Qwen3-VL's")

    def scale(norm: nn.Module) -> Tensor:
        norm.weight.data = norm.weight.data.to(dtype)
        return norm.weight.data

    def layer(module: nn.Module) -> LanguageLayer:
        attention, mlp = module.self_attn, module.mlp
        return LanguageLayer(
            norm_attention=scale(module.input_layernorm),
            qkv=pack([attention.q_proj, attention.k_proj, attention.v_proj], dtype),
            norm_query=scale(attention.q_norm),
            norm_key=scale(attention.k_norm),
            output=pack([attention.o_proj], dtype),
            norm_mlp=scale(module.post_attention_layernorm),
            gate_up=pack([mlp.gate_proj, mlp.up_proj], dtype),
            down=pack([mlp.down_proj], dtype),
        )

    text.embed_tokens.weight.data = text.embed_tokens.weight.data.to(dtype)
    layers = tuple(layer(module) for module in text.layers)
    return LanguageStack(
        layers, scale(text.norm), config.num_attention_heads, config.num_key_value_heads, config.head_dim, config.rms_norm_eps
    )


def plain_positions(text: nn.Module, length: int, device: torch.device, dtype: torch.dtype) -> Rotary:
    """Rotary code of positions 0..L-1, the same on all three axes."""
    positions = torch.arange(length, device=device).expand(3, 1, length)
    cosine, sine = text.rotary_emb(torch.zeros(1, device=device, dtype=dtype), positions)
    return rotary(cosine[0], sine[0])


def language_states(stack: LanguageStack, embeds: Tensor, positions: Rotary, image_index: Tensor, deepstack: Sequence[Tensor]) -> Tensor:
    """Final normalised states (L, D) of input embeddings (L, D).

    image_index (I,): rows that stand for image tokens; deepstack: (I, D) each, added to those rows after layer 0, 1, ...
    """
    hidden = embeds[None]
    for index, layer in enumerate(stack.layers):
        hidden = hidden + _attention(stack, layer, _rms(hidden, layer.norm_attention, stack.eps), positions)
        gate, up = layer.gate_up(_rms(hidden, layer.norm_mlp, stack.eps)).chunk(2, dim=-1)
        hidden = hidden + layer.down(F.silu(gate) * up)
        if index < len(deepstack):
            hidden = hidden.index_add(1, image_index, deepstack[index][None].to(hidden.dtype))
    return _rms(hidden, stack.norm, stack.eps)[0]


def _attention(stack: LanguageStack, layer: LanguageLayer, x: Tensor, positions: Rotary) -> Tensor:
    counts = (stack.heads, stack.key_heads, stack.key_heads)
    parts = layer.qkv(x).split([count * stack.head_dim for count in counts], dim=-1)
    query, key, value = (heads_of(part, count) for part, count in zip(parts, counts, strict=True))
    turned = positions(torch.cat([_rms(query, layer.norm_query, stack.eps), _rms(key, layer.norm_key, stack.eps)], dim=1))
    query, key = turned.split([stack.heads, stack.key_heads], dim=1)
    return layer.output(attend(query, key, value, causal=True, grouped=stack.heads != stack.key_heads))


def _rms(x: Tensor, scale: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], scale, eps)
