"""Fills in what the action expert reads of every start of a dataset, for trainings of the expert alone: worked out once, kept on disk.

Without it each step asks the frozen language model again, which on a CPU is most of the small model's time.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lawam_ros.model.inference_parts import TRAINING_ONLY
from lawam_ros.model.lawam import LaWAM
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.training.batches import policy_batch
from lawam_ros.training.freezing import trains_the_expert_alone
from lawam_ros.training.frozen_context import FrozenContext, joined
from lawam_ros.training.run_state import RunState, load_state, save_state
from lawam_ros.training.sources import Source

_BATCH = 64
_SAMPLED_ROWS = 16


def own_sentences(source: Source) -> list[str]:
    return [source.sentence(start) for start in range(len(source.starts))]


def with_context(
    source: Source,
    model: LaWAM,
    prompts: PromptEncoder,
    sentences: Sequence[str],
    bf16: bool,
    dtype: torch.dtype,
    folder: Path | None = None,
    told: Callable[[int], object] = lambda starts: None,
) -> Source:
    """``source`` with ``context`` filled in. sentences: what is said at each of its starts. dtype: that the numbers are kept in.

    A pure function of these arguments. folder: where the context is looked for by a hash of them, and kept; None in a process that shall
    not write. told: how many more starts are done. Raises EnvironmentLacks where the disk is full.
    """
    file = None if folder is None else folder / f"{_content_sha256(source, model, sentences, f'{bf16} {dtype}')}.safetensors"
    if file is not None and file.is_file():
        told(len(source.starts))
        return replace(source, context=FrozenContext(**load_state(file).tensors))
    context = _context(source, model, prompts, sentences, bf16, dtype, told)
    if file is not None:
        save_state(file, RunState(dict(vars(context)), {}))
    return replace(source, context=context)


@torch.no_grad()
def _context(
    source: Source,
    model: LaWAM,
    prompts: PromptEncoder,
    sentences: Sequence[str],
    bf16: bool,
    dtype: torch.dtype,
    told: Callable[[int], object],
) -> FrozenContext:
    model.eval()
    device, parts = model.act_query.device, []
    for first in range(0, len(source.starts), _BATCH):
        said = sentences[first : first + _BATCH]
        picks = [(0, first + number) for number in range(len(said))]
        batch = policy_batch(model.config, [source], picks, prompts, said).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            language = model.vlm_forward(batch.prompt, batch.frames)
            predicted = model.foresee(model.features_of(batch.features, batch.pair)[:, 0], language.z)
        hidden, z, subgoals = (value.to(dtype).cpu() for value in (language.h_vlm, language.z, predicted))
        parts.append(FrozenContext(hidden, batch.prompt.attention_mask.cpu(), z, subgoals))
        told(len(said))
    return joined(parts)


def _content_sha256(source: Source, model: LaWAM, sentences: Sequence[str], precision: str) -> str:
    """Of everything the context depends on; of the pictures a sample, since they are gigabytes."""
    digest = hashlib.sha256("\n".join([precision, *sentences]).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not (trains_the_expert_alone([name]) or name.startswith(TRAINING_ONLY)):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    for start in np.unique(np.linspace(0, len(source.starts) - 1, _SAMPLED_ROWS).round().astype(np.int64)):
        digest.update(source.pictures.views(int(source.starts[start])).numpy().tobytes())
    digest.update(np.ascontiguousarray(source.starts).tobytes())
    return digest.hexdigest()
