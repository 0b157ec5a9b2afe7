"""Pictures of an open-loop comparison: which chunks are shown, and on which axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.task import ACTION_SLOTS
from lawam_ros.data.action_space import relative_from_absolute
from lawam_ros.data.open_loop import COMPONENTS, ComparedChunk, ComponentError

if TYPE_CHECKING:
    from lawam_ros.viz.open_loop_plots import Track

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Stretch:
    """A time without gaps: instants (T,), arm -> what it was told or did then (T, 8), and the chunks within."""

    stamps_ns: NDArray[np.int64]
    rows: Mapping[str, Array]
    chunks: Sequence[ComparedChunk]

    @property
    def seconds(self) -> float:
        return float(self.stamps_ns[-1] - self.stamps_ns[0]) * 1e-9


def draw(out: Path, errors: Sequence[ComponentError], time_from_start_s: Array, stretches: Sequence[Stretch]) -> list[Path]:
    """Files written: errors over the horizon of all chunks, and chunks over the stretch with most of them."""
    from lawam_ros.viz.open_loop_plots import ErrorCurve, chunk_plot, error_plot

    curves = {row.name: ErrorCurve(row.unit, row.error, row.staying) for row in errors}
    pictures = {
        out / "open_loop_errors.png": error_plot(time_from_start_s, curves),
        out / "open_loop_chunks.png": chunk_plot(tracks(max(stretches, key=lambda stretch: len(stretch.chunks)))),
    }
    for path, content in pictures.items():
        path.write_bytes(content)
    return list(pictures)


def tracks(stretch: Stretch) -> "dict[str, Track]":
    """Arm and component -> its course, poses counted from where the arm was at first; of chunks those that lie half a horizon apart."""
    from lawam_ros.viz.open_loop_plots import Track

    first_ns, slots = stretch.stamps_ns[0], tuple(ACTION_SLOTS)
    shown = _apart(stretch.chunks)
    found = {}
    for arm, rows in stretch.rows.items():
        came = relative_from_absolute(rows, rows[0], slots)
        lines = []
        for chunk in shown:
            values = relative_from_absolute(np.vstack([chunk.start[arm], chunk.predicted[arm]]), rows[0], slots)
            lines.append(((chunk.stamp_ns - first_ns) * 1e-9 + np.concatenate([[0.0], chunk.time_from_start_s]), values))
        for index, (name, unit) in enumerate(COMPONENTS.items()):
            chunks = [(times_s, values[:, index]) for times_s, values in lines]
            found[f"{arm}/{name}"] = Track(unit, (stretch.stamps_ns - first_ns) * 1e-9, came[:, index], chunks)
    return found


def _apart(chunks: Sequence[ComparedChunk]) -> list[ComparedChunk]:
    shown: list[ComparedChunk] = []
    for chunk in chunks:
        if not shown or (chunk.stamp_ns - shown[-1].stamp_ns) * 1e-9 >= 0.5 * chunk.time_from_start_s[-1]:
            shown.append(chunk)
    return shown
