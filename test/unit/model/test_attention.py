"""Attention with gradients on a CPU goes another way than without; both must give the same numbers."""

import pytest
import torch
from torch import nn

from lawam_ros.model.attention import attention, language_attention


def inputs(heads=3, length=7, sources=9, width=8):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, heads, tokens, width, generator=generator) for tokens in (length, sources, sources)]


def masks():
    attend = torch.rand(2, 1, 7, 9, generator=torch.Generator().manual_seed(1)) > 0.4
    attend[..., 0] = True
    return {"none": None, "boolean": attend, "added": torch.zeros(2, 1, 7, 9).masked_fill(~attend, -1e4)}


@pytest.mark.parametrize("kind", ["none", "boolean", "added"])
def test_with_and_without_gradients_agree(kind):
    query, key, value = inputs()
    with torch.no_grad():
        fused = attention(query, key, value, masks()[kind])
    products = attention(query.requires_grad_(), key, value, masks()[kind])
    assert products.requires_grad
    torch.testing.assert_close(products.detach(), fused, atol=1e-6, rtol=1e-5)


def test_causal_with_and_without_gradients():
    query, key, value = inputs(sources=7)
    with torch.no_grad():
        fused = attention(query, key, value, causal=True)
    torch.testing.assert_close(attention(query.requires_grad_(), key, value, causal=True).detach(), fused, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(attention(query, key, value).detach(), fused, atol=1e-3)


def test_a_row_that_may_look_nowhere_stays_finite():
    query, key, value = inputs()
    nowhere = torch.zeros(2, 1, 7, 9, dtype=torch.bool)
    attention(query.requires_grad_(), key, value, nowhere).sum().backward()
    assert torch.isfinite(query.grad).all()


def test_the_interface_of_the_library_shares_keys_and_asks_whether_it_is_causal():
    query, key, value = inputs(heads=4, sources=7)
    key, value = key[:, :2], value[:, :2]
    layer = nn.Module()
    output, _ = language_attention(layer, query, key, value, None)
    shared = [tensor.repeat_interleave(2, dim=1) for tensor in (key, value)]
    torch.testing.assert_close(output, attention(query, *shared, causal=True).transpose(1, 2))
    free, _ = language_attention(layer, query, key, value, None, is_causal=False)
    torch.testing.assert_close(free, attention(query, *shared).transpose(1, 2))
