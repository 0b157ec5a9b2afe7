"""Latent actions of the frozen teacher between every start of a dataset and its future: worked out once, kept for the next run."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lawam_ros.model.lawam import LaWAM
from lawam_ros.training.run_state import RunState, load_state, save_state
from lawam_ros.training.sources import Source

_BATCH = 128
_SAMPLED_ROWS = 16
_LATENTS = "latents"


def with_teacher(
    source: Source,
    model: LaWAM,
    device: torch.device,
    bf16: bool,
    folder: Path | None = None,
    told: Callable[[int], object] = lambda starts: None,
) -> Source:
    """``source`` with ``teacher`` filled in, float32; unchanged where its features are not cached.

    They are a pure function of teacher, features and starts. folder: where they are looked for by a hash of all three, and kept; None in a
    process that shall not write. told: how many more starts are done. Raises EnvironmentLacks where the disk is full.
    """
    if source.pictures.features(source.starts[:1]) is None:
        return source
    file = None if folder is None else folder / f"{_content_sha256(source, model, device, bf16)}.safetensors"
    if file is not None and file.is_file():
        told(len(source.starts))
        return source.with_teacher(load_state(file).tensors[_LATENTS])
    latents = _latents(source, model, device, bf16, told)
    if file is not None:
        save_state(file, RunState({_LATENTS: latents}, {}))
    return source.with_teacher(latents)


@torch.no_grad()
def _latents(source: Source, model: LaWAM, device: torch.device, bf16: bool, told: Callable[[int], object]) -> Tensor:
    model.eval()
    parts = []
    for first in range(0, len(source.starts), _BATCH):
        rows = source.starts[first : first + _BATCH]
        now, later = source.pictures.features(rows), source.pictures.features(source.future[rows])
        assert now is not None and later is not None
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            parts.append(model.lam.teacher_latent(torch.stack([now, later], dim=1).to(device)).float().cpu())
        told(len(rows))
    return torch.cat(parts)


def _content_sha256(source: Source, model: LaWAM, device: torch.device, bf16: bool) -> str:
    """Of everything the latents depend on; of the features a sample, since they are gigabytes."""
    digest = hashlib.sha256(f"{device.type} {bf16}".encode())
    for part in (model.lam.encoder, model.lam.vq):
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    future = source.future[source.starts]
    sample = np.unique(np.linspace(0, len(source.starts) - 1, _SAMPLED_ROWS).round().astype(np.int64))
    for rows in (source.starts[sample], future[sample]):
        features = source.pictures.features(rows)
        assert features is not None
        digest.update(features.numpy().tobytes())
    digest.update(np.ascontiguousarray(source.starts).tobytes() + np.ascontiguousarray(future).tobytes())
    return digest.hexdigest()
