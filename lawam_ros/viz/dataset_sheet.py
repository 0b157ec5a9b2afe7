"""A sheet that shows what is in a dataset: durations, the spread of every component over the course of an episode, pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rgb = NDArray[np.uint8]

_COURSE_POINTS = 50
_COLUMNS = 4
_CELL_INCH = (3.6, 2.4)
_BANDS = (0.0, 10.0, 50.0, 90.0, 100.0)


def dataset_sheet(durations_s: Sequence[float], tracks: Mapping[str, Sequence[Array]], pictures: Mapping[str, Sequence[Rgb]]) -> Rgb:
    """(H, W, 3). tracks: component -> its values (T,) in every episode. pictures: title -> equally large pictures of one row."""
    cells = 1 + len(tracks)
    rows = -(-cells // _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * _CELL_INCH[0], (rows + len(pictures)) * _CELL_INCH[1]), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows + len(pictures), _COLUMNS)
    histogram = figure.add_subplot(grid[0, 0])
    histogram.hist(durations_s, bins=min(30, max(5, len(durations_s) // 4)), color="0.4")
    histogram.set_title(f"duration of {len(durations_s)} episodes [s]", fontsize=9)
    for cell, (name, episodes) in enumerate(tracks.items(), start=1):
        axes = figure.add_subplot(grid[cell // _COLUMNS, cell % _COLUMNS])
        lowest, low, middle, high, highest = course_bands(episodes)
        course = np.linspace(0.0, 100.0, _COURSE_POINTS)
        axes.fill_between(course, lowest, highest, color="tab:blue", alpha=0.15)
        axes.fill_between(course, low, high, color="tab:blue", alpha=0.35)
        axes.plot(course, middle, color="tab:blue")
        axes.set_title(f"{name}: median, 80 %, all", fontsize=9)
        axes.set_xlabel("% of the episode", fontsize=8)
    for row, (name, row_pictures) in enumerate(pictures.items(), start=rows):
        axes = figure.add_subplot(grid[row, :])
        axes.imshow(np.concatenate(list(row_pictures), axis=1))
        axes.set_title(name, fontsize=9)
        axes.axis("off")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def course_bands(episodes: Sequence[Array]) -> Array:
    """(5, 50): lowest, 10 %, median, 90 % and highest over the episodes, each stretched to the same length."""
    course = np.linspace(0.0, 1.0, _COURSE_POINTS)
    stretched = [np.interp(course, np.linspace(0.0, 1.0, len(values)), values) for values in episodes]
    return np.percentile(stretched, _BANDS, axis=0)
