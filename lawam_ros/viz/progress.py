"""How much of a foreseen change is still to come."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]


@dataclass(frozen=True)
class _Aim:
    """A prediction in force: of which observation (ns), where it started and the change it foresaw."""

    stamp_ns: int
    start: Features
    change: Features


class SubgoalProgress:
    """Follows one prediction until an observation at or after the time it is for, then the one of that observation.

    The distance is measured along the foreseen change only: 1 where the scene is as it was when it was predicted, 0 where all of the change
    has come about. Errors of the prediction in other directions, which never vanish, do not count.
    """

    def __init__(self, horizon_s: float) -> None:
        """horizon_s: how far ahead a subgoal is predicted."""
        self._horizon_ns = round(horizon_s * 1e9)
        self._aim: _Aim | None = None

    def forget(self) -> None:
        """A new instruction or episode: what was foreseen is not to be expected any more."""
        self._aim = None

    def update(self, stamp_ns: int, current: Features, predicted: Features) -> float:
        """Distance of the features (tokens, F) observed at stamp_ns to the subgoal in force; 1 where there is none yet."""
        aim = self._aim
        if aim is not None and (aim.start.shape != current.shape or stamp_ns <= aim.stamp_ns):
            aim = None
        if aim is None or stamp_ns - aim.stamp_ns >= self._horizon_ns:
            self._aim = _Aim(stamp_ns, current.copy(), predicted - current)
        if aim is None:
            return 1.0
        foreseen = max(float(np.vdot(aim.change, aim.change)), 1e-12)
        return 1.0 - float(np.vdot(current - aim.start, aim.change)) / foreseen
