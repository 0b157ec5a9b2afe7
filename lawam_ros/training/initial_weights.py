"""Weights a run starts from: checkpoints of any layout, stage-1 checkpoints, and the base models as their authors publish them.

What a file lacks starts fresh, and what does not fit is left out; the report says both.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.checkpoint import open_folder, read_tensors, stored_tensors
from lawam_ros.model.embodiment_linear import EmbodimentLinear
from lawam_ros.model.state_keys import PREFIX, canonical_state, official_key

_TEACHER = PREFIX + "lam.encoder."


@dataclass(frozen=True)
class InitialWeights:
    """Tensors under official names. embodiment_id: the only embodiment whose layers the files hold, None if they hold all."""

    tensors: dict[str, Tensor]
    embodiment_id: int | None


@dataclass(frozen=True)
class LoadReport:
    """taken: tensors that were loaded, fresh: that start at random, misfits: that were in the files but do not fit the model; names of the
    model's tensors, official."""

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    misfits: tuple[str, ...]

    @property
    def has_teacher(self) -> bool:
        """Whether the inverse-dynamics encoder of stage 1 was loaded."""
        return any(name.startswith(_TEACHER) for name in self.taken)

    def sentence(self) -> str:
        parts = sorted({".".join(name.removeprefix(PREFIX).split(".")[:2]) for name in self.fresh})
        text = f"initial weights: {len(self.taken)} tensors loaded, {len(self.fresh)} start fresh"
        if parts:
            text += f" ({', '.join(parts[:8])}{', ...' if len(parts) > 8 else ''})"
        return text + (f", {len(self.misfits)} did not fit and were left out" if self.misfits else "")


def read_initial(paths: Sequence[Path]) -> InitialWeights:
    """Tensors of all paths, later ones first come last: what two of them hold is taken from the later. UserMistake for unreadable ones."""
    tensors: dict[str, Tensor] = {}
    embodiment_id = None
    for path in paths:
        if is_checkpoint(path):
            folder = open_folder(path)
            found = stored_tensors(folder)
            if folder.facts is not None and folder.facts.inference_only:
                embodiment_id = folder.facts.embodiment_id
        else:
            found = _raw_tensors(path)
        tensors |= found
    return InitialWeights(tensors, embodiment_id)


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a policy checkpoint, which also brings its configuration, and not mere weights."""
    run = path.parent.parent if path.is_file() else path
    return (run / "config.yaml").is_file() or _is_lerobot(run)


def checkpoint_statistics(path: Path) -> dict[str, Any] | None:
    """Content of a policy checkpoint's ``dataset_statistics.json``; None where the path is no such checkpoint."""
    file = (path.parent.parent if path.is_file() else path) / "dataset_statistics.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if is_checkpoint(path) and file.is_file() else None


@torch.no_grad()
def load_initial(module: nn.Module, weights: InitialWeights, prefix: str = "") -> LoadReport:
    """Fill ``module`` (a LaWAM, or a part of it whose names lack ``prefix``) in place."""
    own = {official_key(prefix + name): tensor for name, tensor in module.state_dict().items()}
    per_embodiment = {
        official_key(f"{prefix}{name}.{part}")
        for name, layer in module.named_modules()
        if isinstance(layer, EmbodimentLinear)
        for part in ("W", "b")
    }
    taken, misfits = [], []
    for name, target in own.items():
        stored = weights.tensors.get(name)
        if stored is None:
            continue
        if stored.shape == target.shape:
            target.copy_(stored)
        elif name in per_embodiment and weights.embodiment_id is not None and stored.shape == (1, *target.shape[1:]):
            target[weights.embodiment_id] = stored[0].to(target.dtype)
        else:
            misfits.append(name)
            continue
        taken.append(name)
    fresh = sorted(set(own) - set(taken))
    if not taken:
        raise UserMistake("--init: expected weights that fit the model, none of the tensors does; is the --model the right one?")
    return LoadReport(tuple(sorted(taken)), tuple(fresh), tuple(misfits))


def _raw_tensors(path: Path) -> dict[str, Tensor]:
    """A weights file or a folder of safetensors files under official names, by the spelling of their authors."""
    if path.is_dir():
        files = sorted(path.glob("*.safetensors")) or sorted((path / "checkpoints").glob("*.safetensors"))
        files = files or sorted((path / "checkpoints").glob("*.pt"))
        if not files:
            raise UserMistake(f"--init: expected a checkpoint or a folder with *.safetensors, found neither in {path}")
    elif path.is_file():
        files = [path]
    else:
        raise UserMistake(f"--init: expected a checkpoint or a weights file, found nothing at {path}")
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            found |= load_file(file) if file.suffix == ".safetensors" else read_tensors(file)
        except (SafetensorError, OSError) as error:
            raise UserMistake(f"--init: {file} is not a readable weights file ({error})") from error
    return canonical_state({_official_name(name): tensor for name, tensor in found.items()}, str(path))


def _official_name(name: str) -> str:
    if name.startswith(("model.visual.", "model.language_model.")):
        return f"{PREFIX}vlm.{name}"
    if name.startswith("lam."):
        return PREFIX + name
    if name.startswith(("embeddings.", "layer.", "model.layer.", "norm.")):
        return f"{PREFIX}lam.vision_encoder.model.{name}"
    return name


def _is_lerobot(run: Path) -> bool:
    try:
        return json.loads((run / "config.json").read_text(encoding="utf-8")).get("type") == "lawam"
    except (OSError, ValueError, AttributeError):
        return False
