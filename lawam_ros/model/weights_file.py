"""Tensors of a weights file, mapped from the disk: what nobody asks for is never read."""

import zipfile
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lawam_ros.contract.errors import UserMistake


def read_tensors(weights: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` or a torch file, on the CPU; nothing but tensors is ever unpickled.

    They are views of the file where its format allows (all but torch's format before 1.6): copy what is to stay.
    """
    try:
        if weights.suffix == ".safetensors":
            return load_file(weights)
        content = torch.load(weights, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(weights))
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserMistake(f"{weights}: not a readable checkpoint file ({reason}); copy or download it again") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise UserMistake(f"{weights}: expected a dictionary of tensors, got {type(content).__name__}")
    return content


def check_finite(name: str, tensor: Tensor, where: str) -> None:
    """UserMistake when a tensor holds NaN or infinity; one pass over it, no copy."""
    if tensor.numel() and tensor.is_floating_point():
        low, high = torch.aminmax(tensor)
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise UserMistake(f"{where}: tensor {name} holds NaN or infinity; the training that wrote it diverged, or the file is damaged")
