"""What a run writes down: one CSV row per report, a plot of it, and the errors of sampled chunks in units people know."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot

Array = NDArray[np.float64]

COLUMNS = ("stage", "step", "seconds", "name", "value")


class MetricsFile:
    """Rows ``stage, step, seconds, name, value`` appended to a CSV file; rows past the step a run resumes from are dropped first."""

    def __init__(self, path: Path, also: Callable[[str, int, Mapping[str, float]], None] | None = None) -> None:
        """also: told stage, step and values of every append."""
        self._path, self._also = path, also

    def start(self, stage_order: tuple[str, ...], stage: str, step: int) -> None:
        """Keep what was reported up to ``step`` of ``stage``: the rows after it will be written again."""
        place = {name: index for index, name in enumerate(stage_order)}
        kept = [row for row in read_metrics(self._path) if (place.get(row[0], 0), row[1]) <= (place[stage], step)]
        with open(self._path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(kept)

    def append(self, stage: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
        with open(self._path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows((stage, step, f"{seconds:.1f}", name, f"{value:.6g}") for name, value in values.items())
        if self._also is not None:
            self._also(stage, step, values)


def read_metrics(path: Path) -> list[tuple[str, int, float, str, float]]:
    """All rows of a metrics file, none if there is no file yet."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [(r["stage"], int(r["step"]), float(r["seconds"]), r["name"], float(r["value"])) for r in csv.DictReader(file)]


def plot_metrics(source: Path, target: Path) -> None:
    """One panel per stage and family of names (the part before ``/``), logarithmic where all values are positive."""
    panels: dict[tuple[str, str], dict[str, list[tuple[int, float]]]] = {}
    for stage, step, _, name, value in read_metrics(source):
        family = name.split("/")[0] if "/" in name else "training"
        panels.setdefault((stage, family), {}).setdefault(name, []).append((step, value))
    if not panels:
        return
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(5 * columns, 3.5 * rows), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, ((stage, family), lines) in zip(axes.flat, panels.items(), strict=False):
        for name, points in lines.items():
            axis.plot(*zip(*points, strict=True), label=name.split("/")[-1], linewidth=1.0)
        if all(value > 0 for points in lines.values() for _, value in points):
            axis.set_yscale("log")
        axis.set(title=f"{stage}: {family}", xlabel="step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(target, dpi=110)
    pyplot.close(figure)


def chunk_errors(predicted: Array, expected: Array, at_steps: tuple[int, ...]) -> dict[str, float]:
    """Mean errors of chunk-relative actions (B, N, 7 A) of A arms in units: position in cm and rotation in degrees at the given steps (from
    1), mean opening error in mm. Rotation vectors are subtracted, which is exact enough for the small turns of one chunk."""
    predicted, expected = (values.reshape(*values.shape[:2], -1, 7) for values in (predicted, expected))
    position_cm = 100.0 * np.linalg.norm(predicted[..., :3] - expected[..., :3], axis=-1)
    rotation_deg = np.degrees(np.linalg.norm(predicted[..., 3:6] - expected[..., 3:6], axis=-1))
    errors = {f"error/position_cm_at_{step}": float(position_cm[:, step - 1].mean()) for step in at_steps}
    errors[f"error/rotation_deg_at_{at_steps[-1]}"] = float(rotation_deg[:, at_steps[-1] - 1].mean())
    errors["error/gripper_mm"] = float(1000.0 * np.abs(predicted[..., 6] - expected[..., 6]).mean())
    return errors
