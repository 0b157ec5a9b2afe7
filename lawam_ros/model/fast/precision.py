"""Number formats per stage."""

from dataclasses import dataclass

import torch

from lawam_ros.contract.errors import UserMistake


@dataclass(frozen=True)
class Precision:
    """Types of the matrix products per stage. Norms, softmax, residual streams of vision and world model and the Euler steps stay float32.

    language: vision tower and language layers, whose residual stream has this type too. vision: frozen encoder. world_model: its decoder.
    head: action expert.
    """

    language: torch.dtype
    vision: torch.dtype
    world_model: torch.dtype
    head: torch.dtype


PLANS = {
    "float32": Precision(*4 * (torch.float32,)),
    # What the released server does on CUDA: language weights in bfloat16, vision and world model under bfloat16 autocast, head in float32.
    "bfloat16": Precision(*3 * (torch.bfloat16,), torch.float32),
    "bfloat16_head": Precision(*4 * (torch.bfloat16,)),
}


def precision_of(name: str) -> Precision:
    """Plan by name; UserMistake for another name."""
    if name not in PLANS:
        raise UserMistake(f"expected dtype {', '.join(PLANS)}, got {name!r}")
    return PLANS[name]
