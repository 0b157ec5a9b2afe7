"""What the action expert reads of observations, where nothing before it is trained and it need not be worked out again in every step."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class FrozenContext:
    """Of P observations: final language states hidden (P, L, D), mask (P, L) of those that exist, latent actions z (P, 1, code_dim), and
    predicted (P, N, F), the subgoals."""

    hidden: Tensor
    mask: Tensor
    z: Tensor
    predicted: Tensor

    def at(self, rows: Sequence[int]) -> "FrozenContext":
        """Some of them, in float32."""
        index = torch.as_tensor(rows)
        return FrozenContext(self.hidden[index].float(), self.mask[index], self.z[index].float(), self.predicted[index].float())

    def to(self, device: torch.device | str) -> "FrozenContext":
        return FrozenContext(**{field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)})


def joined(parts: Sequence[FrozenContext]) -> FrozenContext:
    """One after the other, padded to as many language states as the longest has."""
    length = max(part.mask.shape[1] for part in parts)
    padded = [_padded(part, length - part.mask.shape[1]) for part in parts]
    return FrozenContext(**{field.name: torch.cat([getattr(part, field.name) for part in padded]) for field in fields(FrozenContext)})


def _padded(part: FrozenContext, missing: int) -> FrozenContext:
    if not missing:
        return part
    pad = torch.nn.functional.pad
    return replace(part, hidden=pad(part.hidden, (0, 0, 0, missing)), mask=pad(part.mask, (0, missing)))
