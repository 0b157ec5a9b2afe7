"""Attention of the modules that are trained: the fused kernels, or plain products where those have the faster way back."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LANGUAGE_ATTENTION = "lawam"
"""Name under which the language layers of transformers find :func:`language_attention`."""


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention of (B, heads, T, d) over (B, heads, S, d).

    mask: boolean, True = attend, or numbers to be added to the scores; broadcastable to (B, heads, T, S). On a CPU, where gradients are
    wanted, it is computed as plain matrix products: for the lengths here their backward pass is several times faster than that of the fused
    kernel or of torch's own fallback. Softmax in float32 in every case.
    """
    trained = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
    if query.device.type == "cpu" and trained:
        return _as_products(query, key, value, mask, causal, dropout)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=causal)


def _as_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, dropout: float) -> Tensor:
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = (tensor.to(dtype) for tensor in (query, key, value))
    # Autocast would write the weights in float32 only to round them again; softmax computes in float32 whatever the type.
    with torch.autocast("cpu", enabled=False):
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if causal:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if mask is not None and mask.dtype == torch.bool:
            # Not minus infinity: a row that may look nowhere belongs to padding, and must not become NaN.
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        elif mask is not None:
            scores = scores + mask.to(scores.dtype)
        weights = torch.softmax(scores, dim=-1)
        if dropout > 0.0:
            weights = F.dropout(weights, dropout)
        return weights @ value


def language_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The interface of transformers: key and value with fewer heads, output (B, T, heads, d). Without a mask, causal where the layer is."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    mask = attention_mask if attention_mask is None else attention_mask[..., : key.shape[2]]
    causal = mask is None and query.shape[2] > 1 and (getattr(module, "is_causal", True) if is_causal is None else is_causal)
    mixed = attention(query, key, value, mask, causal=causal, dropout=dropout if module.training else 0.0)
    return mixed.transpose(1, 2).contiguous(), None
