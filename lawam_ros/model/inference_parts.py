"""Forgetting what inference never reads: parts of the training, the last vision block, and the layers of other embodiments."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lawam_ros.model.embodiment_linear import EmbodimentLinear
from lawam_ros.model.lawam import LaWAM
from lawam_ros.model.vision_encoder import DinoEncoder, dino_layers

TRAINING_ONLY = ("lam.encoder.", "lam.vq.", "lam.state_decoder.")


def keep_inference_parts(model: LaWAM) -> None:
    """Drop the inverse-dynamics encoder, the bottleneck, the state predictor, and of DINOv3 the last block and norm.

    The last block leaves an empty one behind: the number of blocks says where the features are taken.
    """
    model.lam.drop_training_parts()
    encoder = model.lam.vision_encoder
    if isinstance(encoder, DinoEncoder):
        layers = dino_layers(encoder.model)
        layers[len(layers) - 1] = nn.Identity()
        encoder.model.norm = nn.Identity()


def narrow_embodiments(model: LaWAM) -> None:
    """Leave the action expert's layers of the first row only; the caller says of which embodiment that row is."""
    for module in model.flow.modules():
        if isinstance(module, EmbodimentLinear):
            module.W, module.b = (nn.Parameter(part.detach()[:1], part.requires_grad) for part in (module.W, module.b))


def widen_embodiments(model: LaWAM, count: int) -> None:
    """The inverse, without weights (device ``meta``): room for the layers of ``count`` embodiments."""
    for module in model.flow.modules():
        if isinstance(module, EmbodimentLinear):
            module.W, module.b = (nn.Parameter(torch.empty(count, *part.shape[1:], device="meta")) for part in (module.W, module.b))


def embodiment_keys(model: LaWAM) -> set[str]:
    """Names in the model of the action expert's tensors whose first dimension counts embodiments."""
    layers = [name for name, module in model.flow.named_modules() if isinstance(module, EmbodimentLinear)]
    return {f"flow.{name}.{part}" for name in layers for part in ("W", "b")}


def one_embodiment(state: Mapping[str, Tensor], keys: set[str], embodiment_id: int) -> dict[str, Tensor]:
    """The same tensors with only the slice of ``embodiment_id``, first dimension 1; slices stay slices."""
    return {
        name: tensor[embodiment_id : embodiment_id + 1] if name in keys and len(tensor) > 1 else tensor for name, tensor in state.items()
    }


def all_embodiments(state: Mapping[str, Tensor], keys: set[str], embodiment_id: int, count: int) -> dict[str, Tensor]:
    """The inverse: the one slice in its place, NaN for the others, so that using one of them cannot pass unnoticed."""
    full = dict(state)
    for name in keys & set(state):
        if len(state[name]) == count:
            continue
        full[name] = torch.full((count, *state[name].shape[1:]), torch.nan, dtype=state[name].dtype)
        full[name][embodiment_id] = state[name][0]
    return full
