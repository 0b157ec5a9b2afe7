"""Real-time chunking: a new chunk that continues the actions which will have been executed by the time it is ready.

Guided form of arXiv:2506.07339; here flow time tau runs from 0 (noise) to 1 (actions).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lawam_ros.contract.errors import UserMistake

Jacobian = Literal["identity", "exact"]


@dataclass(frozen=True)
class ChunkPrefix:
    """What a new chunk of n actions has to agree with, in normalised action space and the new chunk's own reference.

    actions: (m, D) or (m, action_dim), 1 <= m, the previous chunk from the new chunk's first step on; its last row is held beyond m.
    delay_steps: d, steps that will have been executed when the chunk is ready; they weigh 1.
    attend_steps: end of the part that is followed softly, d <= attend_steps <= n. free_dims: dimensions left alone, grippers usually.
    max_weight: beta, upper bound of the correction. prior_sigma: spread of actions given an observation (normalised), 1 as in the paper.
    jacobian: ``exact`` differentiates through the network, ``identity`` takes the network as the identity, which costs nothing.
    trained: the checkpoint was trained with clean prefixes; the first d rows are set, nothing is guided.
    """

    actions: Tensor
    delay_steps: int
    attend_steps: int
    free_dims: tuple[int, ...] = ()
    max_weight: float = 5.0
    prior_sigma: float = 1.0
    jacobian: Jacobian = "identity"
    trained: bool = False

    def check(self, rows: int, dims: int) -> None:
        """UserMistake where the prefix does not fit chunks of ``rows`` actions and ``dims`` robot dimensions."""
        if not 0 <= self.delay_steps <= self.attend_steps <= rows:
            raise UserMistake(
                f"expected 0 <= delay_steps <= attend_steps <= {rows} actions, got {self.delay_steps} and {self.attend_steps}"
            )
        if self.actions.ndim != 2 or not len(self.actions) or self.actions.shape[1] < dims:
            raise UserMistake(f"expected prefix actions of shape (m, {dims}) with m >= 1, got {tuple(self.actions.shape)}")
        if not bool(torch.isfinite(self.actions).all()):
            raise UserMistake("expected finite prefix actions, got NaN or infinity; start the chunk without a prefix")
        if self.jacobian not in ("identity", "exact"):
            raise UserMistake(f"expected jacobian identity or exact, got {self.jacobian!r}")
        if not all(0 <= dim < dims for dim in self.free_dims):
            raise UserMistake(f"expected free_dims from 0 to {dims - 1}, got {self.free_dims}")
        if not (self.max_weight > 0 and self.prior_sigma > 0):
            raise UserMistake(f"expected max_weight and prior_sigma above 0, got {self.max_weight} and {self.prior_sigma}")


def soft_weights(rows: int, delay_steps: int, attend_steps: int) -> Tensor:
    """Weights (rows,): 1 up to the delay, then falling as c (e^c - 1) / (e - 1) with c linear, 0 from ``attend_steps`` on."""
    index = torch.arange(rows, dtype=torch.float64)
    linear = (attend_steps - index) / (attend_steps - delay_steps + 1)
    soft = linear * torch.expm1(linear) / math.expm1(1.0)
    weights = torch.where(index < delay_steps, torch.ones_like(index), soft)
    return torch.where(index < max(attend_steps, delay_steps), weights, torch.zeros_like(index)).float()


def correction_weight(tau: float, max_weight: float = 5.0, prior_sigma: float = 1.0) -> float:
    """Weight of the correction at flow time tau, at most ``max_weight``, which it is at tau = 0."""
    if tau <= 0.0:
        return max_weight
    variance = prior_sigma**2 * (1.0 - tau) ** 2 / (prior_sigma**2 * tau**2 + (1.0 - tau) ** 2)
    return min(max_weight, (1.0 - tau) / (tau * variance)) if variance > 0.0 else max_weight


def prefix_target(prefix: ChunkPrefix, rows: int, action_dim: int) -> Tensor:
    """Target (rows, action_dim): the previous actions, the last one held, zero in dimensions the robot does not have."""
    held = prefix.actions[torch.arange(rows).clamp(max=len(prefix.actions) - 1)].float()
    return torch.nn.functional.pad(held[:, :action_dim], (0, max(0, action_dim - held.shape[1])))


def prefix_mask(prefix: ChunkPrefix, rows: int, action_dim: int, dims: int) -> Tensor:
    """Weights (rows, action_dim): soft weights over time, 0 in dimensions that are free or beyond the robot's ``dims``."""
    guided = torch.zeros(action_dim)
    guided[:dims] = 1.0
    guided[list(prefix.free_dims)] = 0.0
    return soft_weights(rows, prefix.delay_steps, prefix.attend_steps)[:, None] * guided
