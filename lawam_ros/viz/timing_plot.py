"""Success, jerk and reaction time over the added delay, a line per strategy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray


@dataclass(frozen=True)
class TimingLine:
    """One strategy at rising delays (ms). success: percent with the bounds of its interval; jerk: m/s3; reaction: ms, NaN where unknown."""

    delay_ms: Sequence[float]
    success: Sequence[float]
    success_low: Sequence[float]
    success_high: Sequence[float]
    jerk: Sequence[float]
    reaction: Sequence[float]


def timing_plot(lines: Mapping[str, TimingLine]) -> NDArray[np.uint8]:
    """RGB picture (H, W, 3) of three panels side by side."""
    figure = Figure(figsize=(12.0, 3.8), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    success, jerk, reaction = figure.subplots(1, 3)
    shift = 2.5
    for index, (name, line) in enumerate(lines.items()):
        at = np.asarray(line.delay_ms) + shift * (index - (len(lines) - 1) / 2)  # side by side, so that intervals can be told apart
        bars = np.maximum([np.subtract(line.success, line.success_low), np.subtract(line.success_high, line.success)], 0.0)
        success.errorbar(at, line.success, yerr=bars, marker="o", markersize=4, capsize=2, linewidth=1.2, label=name)
        jerk.plot(line.delay_ms, line.jerk, marker="o", markersize=4, linewidth=1.2)
        reaction.plot(line.delay_ms, line.reaction, marker="o", markersize=4, linewidth=1.2)
    for axes, title, label in (
        (success, "success, 95 % interval", "%"),
        (jerk, "jerk of the commanded TCP, moving", "m/s³, root mean square"),
        (reaction, "reaction time", "ms"),
    ):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("added delay, ms")
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
    success.set_ylim(-3, 103)
    jerk.set_ylim(bottom=0)
    reaction.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=len(lines), frameon=False, fontsize=9)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
