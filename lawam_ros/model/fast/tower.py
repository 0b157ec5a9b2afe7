"""The language model's vision tower for a fixed image size: all images as one batch, position tables computed once."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lawam_ros.model.fast.dense import Dense, Norm, Rotary, attend, layer_norm, pack, rotary
from lawam_ros.model.image_preparation import image_patches
from lawam_ros.model.vlm import QwenAdapter


@dataclass(frozen=True)
class TowerBlock:
    norm_attention: Norm
    qkv: Dense
    output: Dense
    norm_mlp: Norm
    up: Dense
    down: Dense


@dataclass(frozen=True)
class Merger:
    """Four neighbouring tokens to one. grouped_norm: the norm sees the four together."""

    norm: Norm
    grouped_norm: bool
    up: Dense
    down: Dense


@dataclass(frozen=True)
class TowerStack:
    """position (T, D): learned position of each patch; positions: its rotary code. deepstack: merger after a block, by its index."""

    patch: Dense
    position: Tensor
    positions: Rotary
    blocks: tuple[TowerBlock, ...]
    deepstack: dict[int, Merger]
    merger: Merger
    heads: int
    group: int
    activation: nn.Module
    pixels: tuple[int, int, int]
    dtype: torch.dtype


def pack_tower(adapter: QwenAdapter, dtype: torch.dtype) -> TowerStack:
    """Weights of the tower inside the language adapter."""
    tower = adapter.model.visual
    convolution = tower.patch_embed.proj
    convolution.weight.data, convolution.bias.data = convolution.weight.data.to(dtype), convolution.bias.data.to(dtype)
    position = (tower.pos_embed.weight.data[adapter.corner].float() * adapter.corner_weight[..., None]).sum(dim=1)
    blocks = tuple(
        TowerBlock(
            layer_norm(block.norm1, dtype), pack([block.attn.qkv], dtype), pack([block.attn.proj], dtype),
            layer_norm(block.norm2, dtype), pack([block.mlp.linear_fc1], dtype), pack([block.mlp.linear_fc2], dtype),
        )
        for block in tower.blocks
    )  # fmt: skip
    deepstack = zip(tower.deepstack_visual_indexes, tower.deepstack_merger_list, strict=True)
    return TowerStack(
        patch=Dense(convolution.weight.data.flatten(1), convolution.bias.data),
        position=position.to(dtype),
        positions=rotary(adapter.cosine, adapter.sine),
        blocks=blocks,
        deepstack={int(index): _pack_merger(merger, dtype) for index, merger in deepstack},
        merger=_pack_merger(tower.merger, dtype),
        heads=tower.blocks[0].attn.num_heads,
        group=tower.spatial_merge_unit,
        activation=tower.blocks[0].mlp.act_fn,
        pixels=(adapter.patch, adapter.merge, adapter.temporal),
        dtype=dtype,
    )


def _pack_merger(merger: nn.Module, dtype: torch.dtype) -> Merger:
    up, down = pack([merger.linear_fc1], dtype), pack([merger.linear_fc2], dtype)
    return Merger(layer_norm(merger.norm, dtype), merger.use_postshuffle_norm, up, down)


def image_tokens(stack: TowerStack, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Frames uint8 or float 0..255 (V, 3, S, S) to language tokens (V * I, D) and the deepstack features, of the same shape each."""
    hidden = stack.patch(image_patches(frames, *stack.pixels)) + stack.position
    deepstack = []
    for index, block in enumerate(stack.blocks):
        qkv = block.qkv(block.norm_attention(hidden)).unflatten(-1, (3, stack.heads, -1)).permute(2, 0, 3, 1, 4)
        turned = stack.positions(qkv[:2].float()).to(stack.dtype)
        hidden = hidden + block.output(attend(turned[0], turned[1], qkv[2]))
        hidden = hidden + block.down(stack.activation(block.up(block.norm_mlp(hidden))))
        if index in stack.deepstack:
            deepstack.append(_merged(stack.deepstack[index], hidden, stack.group))
    return _merged(stack.merger, hidden, stack.group), deepstack


def _merged(merger: Merger, hidden: Tensor, group: int) -> Tensor:
    tokens = hidden.flatten(0, 1)
    grouped = tokens.view(-1, group * tokens.shape[-1])
    x = merger.norm(grouped) if merger.grouped_norm else merger.norm(tokens).view_as(grouped)
    return merger.down(F.gelu(merger.up(x)))
