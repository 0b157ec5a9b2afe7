"""Plots of an open-loop comparison: errors over the horizon, and chunks laid over what really came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lawam_ros.viz.run_plots import png

Array = NDArray[np.float64]

_COLUMNS, _DPI = 4, 90
_THOUSAND = 1e3
"""Metres and radians are drawn in thousandths."""


@dataclass(frozen=True)
class ErrorCurve:
    """Mean absolute error at every step (N,) in ``unit``, and that of an arm which stays where it is."""

    unit: str
    error: Array
    staying: Array


@dataclass(frozen=True)
class Track:
    """One component over a recording: what came (T,) at times_s (T,), and chunks as (times in s, values), each from its observation on."""

    unit: str
    times_s: Array
    truth: Array
    chunks: Sequence[tuple[Array, Array]]


def error_plot(time_from_start_s: Array, curves: Mapping[str, ErrorCurve]) -> bytes:
    """PNG with one panel per component."""
    rows = -(-len(curves) // _COLUMNS)
    figure = Figure(figsize=(11.0, 2.2 * rows + 0.4), layout="constrained", dpi=_DPI)
    for index, (name, curve) in enumerate(curves.items()):
        axes = figure.add_subplot(rows, _COLUMNS, index + 1)
        axes.plot(time_from_start_s, _THOUSAND * curve.staying, color="0.55", linestyle="--", label="staying")
        axes.plot(time_from_start_s, _THOUSAND * curve.error, color="tab:blue", label="policy")
        axes.set_title(f"{name} [m{curve.unit}]", fontsize=8)
        axes.set_ylim(bottom=0.0)
        axes.tick_params(labelsize=7)
        if index == 0:
            axes.legend(fontsize=7)
        if index >= len(curves) - _COLUMNS:
            axes.set_xlabel("time from the observation [s]", fontsize=7)
    figure.suptitle("mean absolute error over the horizon", fontsize=9)
    return png(figure)


def chunk_plot(tracks: Mapping[str, Track]) -> bytes:
    """PNG with one row per component."""
    figure = Figure(figsize=(11.0, 1.15 * len(tracks) + 0.5), layout="constrained", dpi=_DPI)
    for index, (name, track) in enumerate(tracks.items()):
        axes = figure.add_subplot(len(tracks), 1, index + 1)
        axes.plot(track.times_s, _THOUSAND * track.truth, color="0.6", linewidth=2.5, label="what came")
        for number, (times_s, values) in enumerate(track.chunks):
            colour, label = f"C{number % 10}", "chunks, a dot where each begins" if number == 0 else None
            axes.plot(times_s, _THOUSAND * values, color=colour, linewidth=1.2, label=label)
            axes.plot(times_s[:1], _THOUSAND * values[:1], "o", color=colour, markersize=3.5)
        axes.set_ylabel(f"{name}\n[m{track.unit}]", fontsize=7)
        axes.tick_params(labelsize=7, labelbottom=index == len(tracks) - 1)
        if index == 0:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=7)
    axes.set_xlabel("time [s]", fontsize=8)
    return png(figure)
