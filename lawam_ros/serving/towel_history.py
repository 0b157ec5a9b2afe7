"""The chunk rule of the official fold-towel server: what one connection was told before decides what it is told next."""

import numpy as np
from numpy.typing import NDArray

from lawam_ros.control.ensemble import EnsembleRules, blend
from lawam_ros.policies.wire.peer_mistake import PeerMistake

Array = NDArray[np.float64]

ALPHA = 0.05
"""The official server's ``adaptive_ensemble_alpha``."""


class TowelHistory:
    """Of one connection: the last row it was told, and what the last chunk said about the steps after those."""

    def __init__(self, latency_steps: int = 0, ensemble: bool = True) -> None:
        self._latency_steps = latency_steps
        self._ensemble = ensemble
        self.last_row: Array | None = None
        self._tail: Array | None = None

    def reset(self) -> None:
        self.last_row = self._tail = None

    def rows(self, actions: Array, measured: Array, move_steps: int) -> Array:
        """Rows (at most move_steps + 1, D): the last row told (at first the measured one), then the next ``move_steps`` of the chunk.

        actions: the whole chunk (n, D). Where the last chunk spoke of the same steps the two are blended, angles one by one.
        """
        start = self._latency_steps
        current = actions[start : start + move_steps].copy()
        if not len(current):
            raise PeerMistake(f"expected a chunk of more than {start} steps, got {len(actions)}")
        if self._ensemble and self._tail is not None:
            for i in range(min(len(self._tail), len(current))):
                current[i] = blend(np.stack([self._tail[i], current[i]]), EnsembleRules(alpha=ALPHA))
        self._tail = actions[start + move_steps : start + 2 * move_steps].copy()
        rows = np.concatenate([(measured if self.last_row is None else self.last_row)[None], current])
        self.last_row = rows[-1]
        return rows
