"""The vision tower of Qwen3-VL on a stack of equally sized square images.

Uses the weights held by transformers' module, but its own forward pass: all images attend within themselves in one batched attention, and
position tables, which depend on the fixed grid only, are computed once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lawam_ros.model.attention import attention as attend


def tower_tables(grid: int, merge: int, learned_side: int, head_dim: int, theta: float = 10000.0) -> dict[str, Tensor]:
    """Tables for a grid x grid image, tokens in merge x merge blocks, T = grid * grid.

    corner (T, 4) long and corner_weight (T, 4): bilinear interpolation (aligned corners) of the learned position grid.
    cosine, sine (T, head_dim): rotary tables, row frequencies then column frequencies, tiled twice.
    """
    side = torch.arange(grid)
    row, column = (_block_order(axis, grid, merge) for axis in (side[:, None].expand(grid, grid), side[None].expand(grid, grid)))
    place = torch.linspace(0, learned_side - 1, grid, dtype=torch.float32)
    low = place.long()
    high = (low + 1).clamp(max=learned_side - 1)
    part = place - low
    corner = torch.stack(
        [low[row] * learned_side + low[column], low[row] * learned_side + high[column], high[row] * learned_side + low[column],
         high[row] * learned_side + high[column]], dim=1,
    )  # fmt: skip
    up, left = part[row], part[column]
    weight = torch.stack([(1 - up) * (1 - left), (1 - up) * left, up * (1 - left), up * left], dim=1)
    spatial = head_dim // 2
    frequency = 1.0 / theta ** (torch.arange(0, spatial, 2, dtype=torch.float32) / spatial)
    angle = torch.cat([row[:, None] * frequency, column[:, None] * frequency], dim=1).tile(1, 2)
    return {"corner": corner, "corner_weight": weight, "cosine": angle.cos(), "sine": angle.sin()}


def _block_order(values: Tensor, grid: int, merge: int) -> Tensor:
    return values.reshape(grid // merge, merge, grid // merge, merge).permute(0, 2, 1, 3).reshape(-1)


def vision_features(
    tower: nn.Module, patches: Tensor, corner: Tensor, corner_weight: Tensor, cosine: Tensor, sine: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Pixel rows (N, T, P) to merged image tokens (N, T/4, D) and the list of deepstack features of the same shape."""
    count, tokens, _ = patches.shape
    project = tower.patch_embed.proj
    # The convolution's kernel covers one patch: it is a matrix product.
    hidden = F.linear(patches.to(project.weight.dtype), project.weight.flatten(1), project.bias)
    position = (tower.pos_embed(corner) * corner_weight[..., None]).sum(dim=1)
    hidden = hidden + position.to(hidden.dtype)
    merged_tokens = tokens // tower.spatial_merge_unit
    deepstack = []
    for index, block in enumerate(tower.blocks):
        hidden = hidden + _attention(block.attn, block.norm1(hidden), cosine, sine)
        hidden = hidden + block.mlp(block.norm2(hidden))
        if index in tower.deepstack_visual_indexes:
            merger = tower.deepstack_merger_list[list(tower.deepstack_visual_indexes).index(index)]
            deepstack.append(merger(hidden.flatten(0, 1)).view(count, merged_tokens, -1))
    return tower.merger(hidden.flatten(0, 1)).view(count, merged_tokens, -1), deepstack


def _attention(attention: nn.Module, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    count, tokens, width = x.shape
    query, key, value = attention.qkv(x).view(count, tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    query, key = _rotate(query, cosine, sine), _rotate(key, cosine, sine)
    mixed = attend(query, key, value)
    return attention.proj(mixed.transpose(1, 2).reshape(count, tokens, width))


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    values = x.float()
    first, second = values.chunk(2, dim=-1)
    return (values * cosine + torch.cat([-second, first], dim=-1) * sine).to(x.dtype)
