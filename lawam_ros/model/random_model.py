"""Models with random weights and made-up observations: for measuring, where numbers must flow but mean nothing."""

import math

import torch
from torch import Tensor, nn

from lawam_ros.model.config import ModelConfig
from lawam_ros.model.lawam import LaWAM, build_model
from lawam_ros.model.prompt import PromptBatch

TEXT_TOKENS = 96
"""Tokens of a usual prompt besides its images: 162, 228 and 294 in all for one, two and three views at the released size."""


def random_model(config: ModelConfig, seed: int = 0, device: torch.device | str = "cpu") -> LaWAM:
    """Inference parts of a model whose activations keep their size: matrices N(0, 1 / inputs), scales near one, biases small."""
    model = build_model(config, "meta")
    model.lam.drop_training_parts()
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in list(model.named_parameters()):
        if parameter.is_meta:
            _replace(model, name, _random_values(name, parameter, generator, device))
    for name, buffer in list(model.named_buffers()):
        if buffer.is_meta:
            raise RuntimeError(f"buffer {name} has no values on the meta device")
    return model.to(device).eval().requires_grad_(False)


def _random_values(name: str, like: Tensor, generator: torch.Generator, device: torch.device | str) -> Tensor:
    values = torch.randn(like.shape, generator=generator, device=device)
    if like.ndim < 2:
        return values.mul_(0.02) if name.endswith("bias") else values.mul_(0.05).add_(1.0)
    inputs = like.shape[1] if like.ndim == 3 and name.endswith(".W") else math.prod(like.shape[1:])
    return values.mul_(1.0 / math.sqrt(inputs))


def _replace(model: nn.Module, name: str, values: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(path), leaf, nn.Parameter(values, requires_grad=False))


def random_prompt(config: ModelConfig, views: int, seed: int = 0) -> PromptBatch:
    """Token ids as a prompt with one primary view and ``views`` - 1 wrist views has them, words at random."""
    base = config.base_vlm
    vocabulary, image_id = int(base["text_config"]["vocab_size"]), int(base["image_token_id"])
    side = config.image_size // (int(base["vision_config"]["patch_size"]) * int(base["vision_config"]["spatial_merge_size"]))
    image = 1 + side * side + 1
    length = views * image + TEXT_TOKENS
    words = torch.randint(vocabulary, (1, length), generator=torch.Generator().manual_seed(seed))
    image_mask, act_mask, flow_mask = (torch.zeros(1, length, dtype=torch.bool) for _ in range(3))
    # <|im_start|>user\n, the primary view, text with the action queries, wrist views, text with the flow queries, the end of the turn.
    first = 3
    act = first + image + TEXT_TOKENS // 2 - 2 * config.action_queries
    flow = length - 5 - 2 * config.flow_queries
    image_mask[0, first + 1 : first + image - 1] = True
    for view in range(1, views):
        start = flow - 12 - (views - view) * image
        image_mask[0, start + 1 : start + image - 1] = True
    act_mask[0, act : act + 2 * config.action_queries : 2] = True
    flow_mask[0, flow : flow + 2 * config.flow_queries : 2] = True
    words[image_mask] = image_id
    return PromptBatch(words, torch.ones_like(image_mask), image_mask, act_mask, flow_mask, padded=False)


def random_frames(config: ModelConfig, views: int, seed: int) -> Tensor:
    """Smooth coloured pictures uint8 (views, 3, S, S)."""
    coarse = torch.rand(views, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    size = config.image_size
    return (nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)
