"""The episodes of a run, each written to a CSV file when it ends, so that a run that breaks off has not been for nothing."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lawam_ros.cli.episodes import EpisodeResult

FILE = "episodes.csv"
_COLUMNS = ("seed", "success", "reason", "time_s", "final_error_m", "min_tcp_object_distance_m", "stages", "command_hash")


class EpisodeTable:
    """``episodes.csv`` in a folder; a new table replaces the last run's. stages: names of those reached, separated by spaces."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._write("w", _COLUMNS)

    def add(self, result: "EpisodeResult") -> None:
        reached = " ".join(name for name, was_reached in result.stages.items() if was_reached)
        self._write("a", [reached if name == "stages" else getattr(result, name) for name in _COLUMNS])

    def _write(self, mode: str, values: "tuple[str, ...] | list[object]") -> None:
        with self.path.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(values)
