"""Golden folders: the small one in test/data always, the full one where LAWAM_GOLDEN points or it lies beside the checkout."""

import os
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

_CHECKOUT = Path(__file__).resolve().parents[2]


def golden_folders(having: str) -> list[Path]:
    """Folders that hold the file ``having``."""
    candidates = [_CHECKOUT / "test/data/golden_small", Path(os.environ.get("LAWAM_GOLDEN", _CHECKOUT.parent / "shared/golden"))]
    return [folder for folder in candidates if (folder / having).is_file()]


def load_tensors(path: Path) -> dict[str, np.ndarray]:
    return load_file(path)
