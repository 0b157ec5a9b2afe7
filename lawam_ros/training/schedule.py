"""Numbers that depend on the step alone: learning rate, seeds, and the noise schedule of flow matching.

Everything random in training is drawn from generators seeded by (seed, stage, step). A run that was killed and continued therefore sees
the same batches, noise and dropout as one that was not, without any generator state on disk.
"""

import math
import zlib

import numpy as np
import torch
from torch import Tensor


def learning_rate(step: int, total_steps: int, warmup_steps: int, peak: float, floor_ratio: float, warmup_offset: int = 1) -> float:
    """Linear warm-up to ``peak``, then half a cosine down to ``peak * floor_ratio`` at ``total_steps``. ``step`` counts from 0.

    warmup_offset: 1 starts at a share of the peak, 0 at zero, as the official schedule of stage 2 does.
    """
    if step < warmup_steps:
        return peak * (step + warmup_offset) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return peak * (floor_ratio + (1.0 - floor_ratio) * 0.5 * (1.0 + math.cos(math.pi * progress)))


def step_seed(seed: int, stage: str, step: int) -> int:
    """63-bit seed of one step of one stage; different salts give unrelated streams."""
    return int(np.random.SeedSequence([seed, zlib.crc32(stage.encode()), step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def step_generators(seed: int, stage: str, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """Generators of one step for the choice of samples (numpy) and for noise (torch)."""
    number = step_seed(seed, stage, step)
    return np.random.default_rng(number), torch.Generator().manual_seed(number)


def time_bucket(tau: Tensor, buckets: int = 1000) -> Tensor:
    """Integer bucket 0..buckets - 1 of flow times, truncated as in the official implementation."""
    return (tau * buckets).trunc().clamp(0, buckets - 1).long()


def interpolate(noise: Tensor, actions: Tensor, tau: Tensor) -> Tensor:
    """Point on the straight way from noise (tau 0) to actions (tau 1); tau has the leading dimensions of both."""
    tau = tau.reshape(tau.shape + (1,) * (actions.ndim - tau.ndim))
    return (1.0 - tau) * noise + tau * actions


def flow_target(noise: Tensor, actions: Tensor) -> Tensor:
    """Velocity along that way, the same at every tau."""
    return actions - noise
