"""Episodes of ``lawam bench timing``, kept in one file per cell of its table, so that a run that was killed goes on where it was."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import UserMistake


@dataclass(frozen=True)
class Cell:
    """One way to follow chunks at one added delay."""

    strategy: str
    delay_ms: int

    @property
    def name(self) -> str:
        return f"{self.strategy}_{self.delay_ms}ms"


@dataclass(frozen=True)
class TimedEpisode:
    """What counts of one episode. Jerks of the commanded TCP while it moves (root mean square and 99th percentile, m/s3), mean reaction
    time (ms, None where no two chunks were used), share of the ticks in HOLD, commands beyond a limit, chunks per kind of prefix."""

    seed: int
    success: bool
    reason: str
    time_s: float
    jerk_rms_m_s3: float
    jerk_p99_m_s3: float
    reaction_ms: float | None
    held_share: float
    violations: int
    prefixes: Mapping[str, int]


class CellFolder:
    """One JSON line per episode in ``<cell>.jsonl``, behind a first line that says what all of them have in common."""

    def __init__(self, folder: Path, common: Mapping[str, Any]) -> None:
        self._folder, self._common = folder, json.loads(json.dumps(common))
        folder.mkdir(parents=True, exist_ok=True)

    def episodes(self, cell: Cell) -> dict[int, TimedEpisode]:
        """seed -> episode. Raises UserMistake for a file of a run with other settings; a last line cut short is left out."""
        path = self._path(cell)
        if not path.is_file():
            return {}
        lines = [parsed for line in path.read_text(encoding="utf-8").splitlines() if (parsed := _parsed(line)) is not None]
        if not lines or lines[0] != self._common:
            raise UserMistake(f"{path}: made with other settings ({lines[:1]}); choose another --out, or the settings of that run")
        return {line["seed"]: TimedEpisode(**line) for line in lines[1:]}

    def add(self, cell: Cell, episode: TimedEpisode) -> None:
        """On the disk when this returns."""
        path = self._path(cell)
        kept = path.read_text(encoding="utf-8") if path.is_file() else ""
        start = "" if kept.endswith("\n") else "\n" if kept else json.dumps(self._common) + "\n"
        with path.open("a", encoding="utf-8") as file:
            file.write(start + json.dumps(asdict(episode)) + "\n")

    def _path(self, cell: Cell) -> Path:
        return self._folder / f"{cell.name}.jsonl"


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def first_of(episodes: Mapping[int, TimedEpisode], seeds: Iterable[int]) -> list[TimedEpisode]:
    """Those of the given seeds that are there, in their order."""
    return [episodes[seed] for seed in seeds if seed in episodes]


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that were measured."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
