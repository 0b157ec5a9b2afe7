"""The report of a replay: one mapping for machines, one table for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lawam_ros.data.recorded_run import RecordedRun
from lawam_ros.data.replay_comparison import Comparison, Replayed, table
from lawam_ros.data.replay_plan import Episode, Look, first_uses


@dataclass(frozen=True)
class ReplayReport:
    """mode: ``lockstep`` or ``rate <R>``. notes: what the reader should know of how it was replayed. problems: what is wrong with the bag.

    recorded_hash: empty where commands are not of the same instants.
    """

    bag: str
    policy: str
    mode: str
    episodes: int
    seconds: float
    command_hash: str
    recorded_hash: str
    comparison: Comparison
    notes: Sequence[str]
    problems: Sequence[str]

    @property
    def identical(self) -> bool:
        """Whether every command is the recorded one, bit for bit."""
        return bool(self.recorded_hash) and self.command_hash == self.recorded_hash

    def as_mapping(self) -> dict[str, Any]:
        return {
            "bag": self.bag,
            "policy": self.policy,
            "mode": self.mode,
            "episodes": self.episodes,
            "seconds": round(self.seconds, 3),
            "command_hash": self.command_hash,
            "recorded_hash": self.recorded_hash,
            "identical": self.identical,
            "regression": not self.comparison.good,
            "rows": self.comparison.as_mapping()["rows"],
            "notes": list(self.notes),
            "problems": list(self.problems),
            "text": self.as_text(),
        }

    def as_text(self) -> str:
        lines = [f"{self.bag}: {self.episodes} episode(s), {self.seconds:.1f} s, {self.mode}, policy {self.policy}", table(self.comparison)]
        lines.append(f"command hash {self.command_hash or '-'}{', as recorded' if self.identical else ''}")
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"problem of the recording: {problem}" for problem in self.problems]
        lines.append("as recorded" if self.comparison.good else "REGRESSION: not as recorded")
        return "\n".join(lines)


def recorded_results(run: RecordedRun, episodes: Sequence[Episode], looks: Sequence[Look], latency_ns: int) -> Replayed:
    """What a replay can repeat of a recording: chunks whose observation is whole and that were used before their episode ended."""
    whole = {look.observation_ns for look in looks}
    chunks = [
        chunk
        for chunk in run.chunks
        if chunk.stamp_ns in whole and any(e.start_ns < chunk.stamp_ns and chunk.stamp_ns + latency_ns < e.end_ns for e in episodes)
    ]
    return Replayed(
        chunks=chunks,
        commands=[[command for command in run.commands if e.start_ns < command.stamp_ns < e.end_ns] for e in episodes],
        holds=[hold for episode in episodes for hold in episode.holds],
        stops=[stop for episode in episodes for stop in episode.stops],
        uses=first_uses(run.chunks, run.statuses),
        chunk_ms=run.chunk_ms,
    )
