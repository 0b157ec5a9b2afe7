"""Matrix products on packed weights that stay the weights of the model: nothing is held twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Dense:
    """y = x W^T + b in the type of W, whatever the type of x. weight (out, in), bias (out,) or None."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


@dataclass(frozen=True)
class Norm:
    """LayerNorm with its input and output in ``dtype``, statistics in float32. weight and bias (dim,) or None."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float
    dtype: torch.dtype

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.to(self.dtype), x.shape[-1:], self.weight, self.bias, self.eps)


def pack(linears: Sequence[nn.Linear], dtype: torch.dtype) -> Dense:
    """One product for linear layers that read the same input, their outputs one after the other.

    The parameters of the layers become views of the packed tensors, in ``dtype``, so the model goes on working and memory is paid once.
    A layer without bias counts as one with bias zero where another has one.
    """
    weights = [linear.weight.data.to(dtype) for linear in linears]
    weight = weights[0] if len(weights) == 1 else torch.cat(weights)
    bias = None
    if any(linear.bias is not None for linear in linears):
        parts = [
            part.new_zeros(len(part)) if linear.bias is None else linear.bias.data.to(dtype)
            for linear, part in zip(linears, weights, strict=True)
        ]
        bias = parts[0] if len(parts) == 1 else torch.cat(parts)
    start = 0
    for linear, part in zip(linears, weights, strict=True):
        rows = slice(start, start + len(part))
        linear.weight.data = weight[rows]
        if linear.bias is not None and bias is not None:
            linear.bias.data = bias[rows]
        start += len(part)
    return Dense(weight, bias)


def pack_attention_input(attention: nn.MultiheadAttention, dtype: torch.dtype) -> Dense:
    """Query, key and value projection of a torch attention layer, which holds them packed already."""
    attention.in_proj_weight.data = attention.in_proj_weight.data.to(dtype)
    attention.in_proj_bias.data = attention.in_proj_bias.data.to(dtype)
    return Dense(attention.in_proj_weight.data, attention.in_proj_bias.data)


def layer_norm(norm: nn.LayerNorm, dtype: torch.dtype = torch.float32) -> Norm:
    """The norm with its own weights."""
    weight = None if norm.weight is None else norm.weight.data.to(dtype)
    bias = None if norm.bias is None else norm.bias.data.to(dtype)
    return Norm(weight, bias, norm.eps, dtype)


def heads_of(x: Tensor, heads: int) -> Tensor:
    """(..., T, heads * d) to (..., heads, T, d), a view."""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def attend(query: Tensor, key: Tensor, value: Tensor, causal: bool = False, grouped: bool = False) -> Tensor:
    """Attention of (B, heads, T, d) without mask or causally, as (B, T, heads * d). grouped: fewer key heads than query heads."""
    mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=grouped)
    return mixed.transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class Rotary:
    """Rotary position code, halves convention: cosine (T, d), and sine (T, d) with the sign of the half it multiplies."""

    cosine: Tensor
    signed_sine: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Turned x (..., T, d), of the tables' type."""
        return torch.addcmul(x * self.cosine, x.roll(x.shape[-1] // 2, dims=-1), self.signed_sine)


def rotary(cosine: Tensor, sine: Tensor) -> Rotary:
    """From plain tables (T, d)."""
    half = sine.shape[-1] // 2
    return Rotary(cosine, torch.cat([-sine[..., :half], sine[..., half:]], dim=-1))
