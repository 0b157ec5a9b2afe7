"""Storing one robot's share of the per-embodiment weights: a checkpoint for inference does not need the others."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lawam_ros.model.embodiment_linear import EmbodimentLinear
from lawam_ros.model.state_keys import official_key


def embodiment_keys(model: nn.Module) -> set[str]:
    """Official names of the tensors whose first dimension counts embodiments."""
    layers = [name for name, module in model.named_modules() if isinstance(module, EmbodimentLinear)]
    return {official_key(f"{name}.{part}") for name in layers for part in ("W", "b")}


def one_embodiment(state: Mapping[str, Tensor], keys: set[str], embodiment_id: int) -> dict[str, Tensor]:
    """The same tensors with only the slice of ``embodiment_id``, first dimension 1."""
    return {name: tensor[embodiment_id : embodiment_id + 1] if name in keys else tensor for name, tensor in state.items()}


def all_embodiments(state: Mapping[str, Tensor], keys: set[str], embodiment_id: int, count: int) -> dict[str, Tensor]:
    """The inverse: the stored slice in its place, NaN for the others, so that using one of them cannot pass unnoticed."""
    full = dict(state)
    for name in keys & set(state):
        tensor = state[name]
        if tensor.shape[0] == 1 != count:
            full[name] = torch.full((count, *tensor.shape[1:]), float("nan"), dtype=tensor.dtype)
            full[name][embodiment_id] = tensor[0]
    return full
