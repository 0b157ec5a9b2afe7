"""Everything a killed run needs to go on, in one file that is replaced atomically.

Tensors lie in a safetensors file; counters and the plan travel in its metadata, so weights and counters can never be of two different
steps.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake

NamedParameters = dict[str, torch.nn.Parameter]

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class RunState:
    """``tensors``: flat names such as ``model.x``, ``average.x``, ``adam.exp_avg.x``. ``facts``: JSON values (stage, step, plan)."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def save_state(path: Path, state: RunState) -> None:
    """Write to a neighbour file, flush it to disk and rename it over ``path``: a kill leaves the old state or the new one.

    Raises EnvironmentLacks where the disk is full; the old state is still there then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    try:
        save_file(tensors, temporary, {"facts": json.dumps(state.facts)})
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        size_mb = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) / 2**20
        raise EnvironmentLacks(
            f"{path}: the training state of {size_mb:.0f} MB could not be written ({error}); make room on the disk and run the command "
            "again, it goes on from the state before"
        ) from error


def load_state(path: Path) -> RunState:
    """State of ``path``. Raises UserMistake if the file is not one of ours."""
    try:
        with safe_open(path, "pt") as stored:
            facts = json.loads((stored.metadata() or {})["facts"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise UserMistake(
            f"{path}: expected a training state written by 'lawam train', could not read it ({error}); choose another --out"
        ) from error
    return RunState(tensors, facts)


def optimiser_tensors(optimiser: torch.optim.Optimizer, parameters: NamedParameters) -> dict[str, Tensor]:
    """AdamW's moments and step counters under the names of their parameters."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    return {
        f"adam.{moment}.{names[id(parameter)]}": values[moment]
        for parameter, values in optimiser.state.items()
        for moment in _MOMENTS
        if moment in values
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, parameters: NamedParameters, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of ``optimiser_tensors``; parameters that had no moments yet stay without."""
    for name, parameter in parameters.items():
        moments = {
            moment: tensors[f"adam.{moment}.{name}"].to(parameter.device, copy=True)
            for moment in _MOMENTS
            if f"adam.{moment}.{name}" in tensors
        }
        if moments:
            optimiser.state[parameter] = moments


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}
