"""DINOv3 for one image: all blocks but the last, whose output nothing reads."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lawam_ros.model.fast.dense import Dense, Norm, Rotary, attend, layer_norm, pack, rotary
from lawam_ros.model.vision_encoder import IMAGENET_MEAN, IMAGENET_STD, DinoEncoder, dino_layers


@dataclass(frozen=True)
class DinoBlock:
    """One block; scale_attention and scale_mlp are the layer scales. up holds gate and value where the MLP is gated."""

    norm_attention: Norm
    qkv: Dense
    output: Dense
    scale_attention: Tensor
    norm_mlp: Norm
    up: Dense
    gated: bool
    down: Dense
    scale_mlp: Tensor


@dataclass(frozen=True)
class DinoStack:
    """tokens (1 + registers, F): class and register tokens. positions: of the patch tokens."""

    patch: Dense
    patch_size: int
    tokens: Tensor
    positions: Rotary
    blocks: tuple[DinoBlock, ...]
    heads: int
    activation: nn.Module
    mean: Tensor
    std: Tensor


def pack_dino(encoder: DinoEncoder, image_size: int, dtype: torch.dtype) -> DinoStack:
    """Weights of the encoder for square images of ``image_size`` pixels."""
    model = encoder.model
    config, embeddings = model.config, model.embeddings
    convolution = embeddings.patch_embeddings
    device = convolution.weight.device
    convolution.weight.data, convolution.bias.data = convolution.weight.data.to(dtype), convolution.bias.data.to(dtype)
    blocks = list(dino_layers(model))[: config.num_hidden_layers - 1]
    with torch.no_grad():
        cosine, sine = model.rope_embeddings.to(device)(torch.zeros(1, 3, image_size, image_size, device=device))
    tokens = torch.cat([embeddings.cls_token.data[0], embeddings.register_tokens.data[0]]).float()
    return DinoStack(
        patch=Dense(convolution.weight.data.flatten(1), convolution.bias.data),
        patch_size=convolution.kernel_size[0],
        tokens=tokens,
        positions=rotary(cosine, sine),
        blocks=tuple(_pack_block(block, dtype) for block in blocks),
        heads=config.num_attention_heads,
        activation=blocks[0].mlp.act_fn if blocks else nn.GELU(),
        mean=torch.tensor(IMAGENET_MEAN, device=device)[:, None, None],
        std=torch.tensor(IMAGENET_STD, device=device)[:, None, None],
    )


def _pack_block(block: nn.Module, dtype: torch.dtype) -> DinoBlock:
    attention, mlp = block.attention, block.mlp
    gated = hasattr(mlp, "gate_proj")
    return DinoBlock(
        norm_attention=layer_norm(block.norm1),
        qkv=pack([attention.q_proj, attention.k_proj, attention.v_proj], dtype),
        output=pack([attention.o_proj], dtype),
        scale_attention=block.layer_scale1.lambda1.data.float(),
        norm_mlp=layer_norm(block.norm2),
        up=pack([mlp.gate_proj, mlp.up_proj] if gated else [mlp.up_proj], dtype),
        gated=gated,
        down=pack([mlp.down_proj], dtype),
        scale_mlp=block.layer_scale2.lambda1.data.float(),
    )


def dino_features(stack: DinoStack, frame: Tensor) -> Tensor:
    """One frame uint8 or float 0..255 (3, S, S) to float32 features (patches, F), normalised per token, row-major."""
    pixels = (frame.float() / 255.0 - stack.mean) / stack.std
    side, size = pixels.shape[-1] // stack.patch_size, stack.patch_size
    # The convolution's kernel covers one patch: it is a matrix product.
    rows = pixels.reshape(3, side, size, side, size).permute(1, 3, 0, 2, 4).reshape(side * side, -1)
    hidden = torch.cat([stack.tokens, stack.patch(rows).float()])[None]
    for block in stack.blocks:
        hidden = torch.addcmul(hidden, _attention(stack, block, block.norm_attention(hidden)), block.scale_attention)
        hidden = torch.addcmul(hidden, _mlp(stack, block, block.norm_mlp(hidden)), block.scale_mlp)
    patches = hidden[0, len(stack.tokens) :]
    return F.layer_norm(patches, patches.shape[-1:])


def _attention(stack: DinoStack, block: DinoBlock, x: Tensor) -> Tensor:
    query, key, value = block.qkv(x).unflatten(-1, (3, stack.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    first = len(stack.tokens)
    both = torch.stack([query, key])
    turned = stack.positions(both[..., first:, :].float()).to(both.dtype)
    query, key = torch.cat([both[..., :first, :], turned], dim=-2).unbind(0)
    return block.output(attend(query, key, value)).float()


def _mlp(stack: DinoStack, block: DinoBlock, x: Tensor) -> Tensor:
    wide = block.up(x)
    if block.gated:
        gate, value = wide.chunk(2, dim=-1)
        wide = stack.activation(gate) * value
    else:
        wide = stack.activation(wide)
    return block.down(wide).float()
