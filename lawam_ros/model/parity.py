"""Recorded outputs of the official implementation ("golden" folders): what a case is, and how a tensor is compared with it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lawam_ros.contract.errors import UserMistake

EXACT, ARITHMETIC, HIDDEN, ACTIONS = 0.0, 1e-6, 1e-4, 2e-4
"""Largest absolute differences allowed in float32 on a CPU: whole numbers, plain formulas (times the size of the numbers), hidden states,
actions."""


@dataclass(frozen=True)
class ParityRow:
    """One compared tensor: largest absolute difference and what is allowed (inf with a note where there is no number)."""

    tensor: str
    max_abs_error: float
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.max_abs_error <= self.tolerance


@dataclass(frozen=True)
class GoldenCase:
    """One case: ``<folder>/<under>/<name>.json`` (settings) and ``.safetensors`` (tensors)."""

    folder: Path
    name: str
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def setting(self, key: str) -> Any:
        """A setting every case of its kind has; UserMistake when this one lacks it."""
        if key not in self.settings:
            raise UserMistake(f"golden case '{self.name}': expected '{key}' in {self.name}.json, found no such key")
        return self.settings[key]

    def tensor(self, key: str) -> Tensor:
        """A stored tensor; UserMistake when the file lacks it."""
        if key not in self.tensors:
            raise UserMistake(f"golden case '{self.name}': expected tensor '{key}' in {self.name}.safetensors, found no such tensor")
        return self.tensors[key]


def case_names(folder: Path, under: str = "cases") -> list[str]:
    """Names of the cases of one kind of a golden folder."""
    return sorted(path.stem for path in (folder / under).glob("*.json"))


def read_case(folder: Path, name: str, under: str = "cases") -> GoldenCase:
    """UserMistake for an unknown name and for files that cannot be read."""
    path = folder / under / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none"
        raise UserMistake(f"no golden case '{name}' in {folder}; there are: {known}")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        tensors = load_file(path.with_suffix(".safetensors"))
    except (ValueError, OSError, SafetensorError) as error:
        raise UserMistake(f"golden case '{name}': {path.with_suffix('.*')} cannot be read ({error})") from error
    if not isinstance(settings, dict):
        raise UserMistake(f"golden case '{name}': expected a mapping in {path}, got {type(settings).__name__}")
    return GoldenCase(folder, name, settings, tensors)


def compare(tensor: str, expected: Tensor | NDArray[Any], got: Tensor | NDArray[Any], tolerance: float) -> ParityRow:
    """Row of one tensor. ARITHMETIC is relative to the largest expected number above 1, everything else absolute."""
    wanted, found = (np.asarray(value, dtype=np.float64) for value in (expected, got))
    if wanted.shape != found.shape:
        return ParityRow(tensor, float("inf"), tolerance, f"expected shape {wanted.shape}, got {found.shape}")
    if tolerance == ARITHMETIC and wanted.size:
        tolerance *= max(1.0, float(np.abs(wanted).max()))
    return ParityRow(tensor, float(np.abs(wanted - found).max()) if wanted.size else 0.0, tolerance)


def not_comparable(tensor: str, reason: str) -> ParityRow:
    """Row of a recorded tensor that cannot be computed here, and why: it counts as missed, not as passed over."""
    return ParityRow(tensor, float("inf"), EXACT, reason)


def uncompared(case: GoldenCase, rows: Iterable[ParityRow]) -> list[str]:
    """Stored tensors without a row: inputs, and what nothing here computes."""
    return sorted(set(case.tensors) - {row.tensor for row in rows})
