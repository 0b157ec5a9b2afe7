"""Success rates side by side, with their intervals."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

Bar = tuple[str, float, tuple[float, float]]
"""Name, rate and interval, as fractions."""


def draw_success_bars(path: Path, bars: Sequence[Bar], single: Sequence[Sequence[float]]) -> None:
    """A bar with its interval per row, a dot per single run; written as a PNG."""
    figure, axis = pyplot.subplots(figsize=(8, 0.6 * len(bars) + 1.2))
    for row, ((_, rate, (low, high)), runs) in enumerate(zip(bars, single, strict=True)):
        axis.barh(row, 100 * rate, color="tab:blue", alpha=0.6)
        axis.errorbar(100 * rate, row, xerr=[[100 * (rate - low)], [100 * (high - rate)]], color="black", capsize=3)
        axis.plot([100 * run for run in runs], [row] * len(runs), ".", color="tab:orange")
    axis.set(yticks=range(len(bars)), yticklabels=[name for name, _, _ in bars], xlim=(0, 100), xlabel="success, %")
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
