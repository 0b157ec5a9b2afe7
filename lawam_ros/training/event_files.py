"""Figures of a run for TensorBoard, where its package is installed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class EventFiles:
    """Scalars ``<stage>/<name>`` under ``<run>/events``; without the package it writes nothing and ``note`` says so."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """first_step: what earlier parts of the run wrote from there on is hidden."""
        self.note = ""
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.note = "no TensorBoard files are written: the package tensorboard is not installed (pip install tensorboard)"
            return
        self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def append(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{stage}/{name}", value, step)
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
