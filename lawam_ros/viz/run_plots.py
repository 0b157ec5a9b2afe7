"""Plots of a run: joints, what delays and disagrees, how near the subgoal is. One time axis, seconds from the start of the recording."""

import io
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Array = NDArray[np.float64]

STATE_COLOURS = {"RUN": "#b7dfc0", "HOLD": "#f3dfa2", "STOP": "#f2a48c", "LATCHED": "#d9534f", "INACTIVE": "#d9d9d9"}
_WIDTH_INCH, _ROW_INCH, _DPI = 11.0, 1.9, 90
_MOST_POINTS = 1500


@dataclass(frozen=True)
class Curve:
    """times_s (T,) and values (T,) or (T, n)."""

    times_s: Array
    values: Array

    def thinned(self) -> "Curve":
        """No more points than a plot can show."""
        step = max(1, len(self.times_s) // _MOST_POINTS)
        return Curve(self.times_s[::step], self.values[::step])


@dataclass(frozen=True)
class RunCurves:
    """duration_s: end of the time axis. commanded, measured: joints (T, n), rad, as ``joint_names``. latency_ms: from an observation to the
    first command of its chunk, at the time of use. seam_mm: disagreement of two chunks at their seam. distance: to the subgoal
    (``viz/progress.py``). states: (start, end, name)."""

    duration_s: float
    joint_names: tuple[str, ...]
    commanded: Curve
    measured: Curve
    latency_ms: Curve
    seam_mm: Curve
    distance: Curve
    states: tuple[tuple[float, float, str], ...]


def joint_plot(curves: RunCurves) -> bytes:
    """PNG with one row per joint: commanded over measured."""
    figure, rows = _rows(curves, len(curves.joint_names), 1.1)
    commanded, measured = curves.commanded.thinned(), curves.measured.thinned()
    for index, (axes, name) in enumerate(zip(rows, curves.joint_names, strict=True)):
        if len(measured.times_s):
            axes.plot(measured.times_s, measured.values[:, index], color="0.45", linewidth=2.5, label="measured")
        if len(commanded.times_s):
            axes.plot(commanded.times_s, commanded.values[:, index], color="tab:blue", linewidth=1.0, label="commanded")
        axes.set_ylabel(f"{name}\n[rad]", fontsize=7)
    if rows[0].lines:
        rows[0].legend(fontsize=7, loc="upper right")
    return png(figure)


def chunk_plot(curves: RunCurves) -> bytes:
    """PNG: latency of every chunk and disagreement at every seam."""
    figure, rows = _rows(curves, 2, _ROW_INCH)
    for axes, curve, label in ((rows[0], curves.latency_ms, "observation to use [ms]"), (rows[1], curves.seam_mm, "seam [mm]")):
        axes.vlines(curve.times_s, 0.0, curve.values, color="tab:blue", linewidth=1.0)
        axes.plot(curve.times_s, curve.values, "o", color="tab:blue", markersize=3)
        axes.set_ylim(bottom=0.0)
        axes.set_ylabel(label, fontsize=8)
    return png(figure)


def progress_plot(curves: RunCurves) -> bytes:
    """PNG: distance to the subgoal."""
    figure, (axes,) = _rows(curves, 1, _ROW_INCH)
    axes.axhline(0.0, color="0.7", linewidth=0.8)
    axes.plot(curves.distance.times_s, curves.distance.values, "o-", color="tab:purple", markersize=3, linewidth=1.0)
    axes.set_ylabel("distance to subgoal", fontsize=8)
    return png(figure)


def _rows(curves: RunCurves, count: int, row_inch: float) -> tuple[Figure, list[Axes]]:
    """Rows over one time axis, with the states as bands behind them."""
    figure = Figure(figsize=(_WIDTH_INCH, count * row_inch + 0.5), layout="constrained", dpi=_DPI)
    rows = [figure.add_subplot(count, 1, index + 1) for index in range(count)]
    for axes in rows:
        for start_s, end_s, state in curves.states:
            axes.axvspan(start_s, end_s, color=STATE_COLOURS.get(state, "white"), alpha=0.5, linewidth=0)
        axes.set_xlim(0.0, curves.duration_s)
        axes.tick_params(labelsize=7, labelbottom=axes is rows[-1])
    rows[-1].set_xlabel("time [s]", fontsize=8)
    return figure, rows


def png(figure: Figure) -> bytes:
    """The figure as a file."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()
