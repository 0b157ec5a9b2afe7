"""What a series of subgoals looks like: heatmap, change map, principal components, and how near the present one is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.viz.change import ChangeMap
from lawam_ros.viz.heatmap import HeatmapStyle, anchor_feature, overlay, similarity_map
from lawam_ros.viz.pca import PcaBasis, fit_basis, pca_pair
from lawam_ros.viz.progress import SubgoalProgress
from lawam_ros.viz.text import WHITE, put_text

Features = NDArray[np.float32]
Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class ViewStyle:
    """change_high: change drawn as the hottest colour, in lengths of a typical feature; between two unrelated ones it is 1.4.
    remove_bias: take out of the change map what every prediction shows."""

    heatmap: HeatmapStyle = HeatmapStyle()
    change_high: float = 1.4
    remove_bias: bool = True


@dataclass(frozen=True)
class _Pair:
    """Features (tokens, F) of one observation and the subgoal predicted from it."""

    current: Features
    predicted: Features
    grid_hw: tuple[int, int]


class SubgoalViews:
    """Pictures of the newest subgoal. The anchor and the colours of components are those of the first observation of an episode."""

    def __init__(self, style: ViewStyle, horizon_s: float) -> None:
        """horizon_s: how far ahead a subgoal is predicted."""
        self._style = style
        self._change = ChangeMap()
        self._progress = SubgoalProgress(horizon_s)
        self._newest: _Pair | None = None
        self.begin()

    def begin(self) -> None:
        """A new episode or instruction."""
        self._first: Features | None = None
        self._anchor: Features | None = None
        self._basis: PcaBasis | None = None
        self._progress.forget()

    def take(self, stamp_ns: int, current: Features, predicted: Features, grid_hw: tuple[int, int]) -> float:
        """The subgoal to draw from now on; distance of the observation to the one in force before (``viz/progress.py``). Raises ValueError
        for features that do not belong together."""
        if current.shape != predicted.shape:
            raise ValueError(f"expected predicted features of shape {current.shape} as the current ones, got {predicted.shape}")
        if self._first is None or self._first.shape != current.shape:
            self.begin()
            self._anchor = anchor_feature(current, grid_hw, self._style.heatmap.anchor_patch)
            self._first = current
        self._newest = _Pair(current, predicted, grid_hw)
        self._change.update(current, predicted)
        return self._progress.update(stamp_ns, current, predicted)

    def heatmap(self, frame: Rgb) -> Rgb:
        """Similarity of the predicted scene to the anchor, over the frame (H, W, 3) of the observation."""
        pair = self._pair()
        assert self._anchor is not None
        return overlay(frame, similarity_map(pair.predicted, self._anchor, pair.grid_hw), self._style.heatmap)

    def change(self, frame: Rgb) -> Rgb:
        """Where the predicted scene differs from the present one, over the frame; the caption says whether the bias is in it."""
        pair, style = self._pair(), self._style
        values = self._change.map(pair.current, pair.predicted, pair.grid_hw, style.remove_bias)
        drawn = overlay(frame, values, HeatmapStyle(low=0.0, high=style.change_high, alpha=style.heatmap.alpha))
        removed = style.remove_bias and self._change.bias_known
        put_text(drawn, "change, mean of the last predictions removed" if removed else "change, raw", (6, 16), WHITE, on=(0, 0, 0))
        return drawn

    def components(self, size_hw: tuple[int, int]) -> Rgb:
        """Present and predicted features as colours beside each other, (H, 2 W, 3)."""
        pair = self._pair()
        assert self._first is not None
        self._basis = self._basis or fit_basis(self._first)
        return pca_pair(pair.current, pair.predicted, self._basis, pair.grid_hw, size_hw)

    def _pair(self) -> _Pair:
        if self._newest is None:
            raise ValueError("expected a subgoal to draw, there was none yet")
        return self._newest
