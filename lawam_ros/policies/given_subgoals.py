"""A LaWAM whose action expert reads other subgoals than the predicted ones, to see whether it heeds them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Observation, Subgoal
from lawam_ros.policies.committed import Committed
from lawam_ros.policies.interface import Inference, Reference, Targets
from lawam_ros.policies.lawam import LawamPolicy

Features = NDArray[np.float32]


class GivenSubgoals:
    """Looks twice: once to foresee, once more with the features (rows * columns, F) that ``choose`` gives in place of the foreseen ones."""

    def __init__(self, policy: LawamPolicy, choose: Callable[[Subgoal], Features]) -> None:
        self._policy, self._choose = policy, choose
        self.description = policy.description

    def warm_up(self) -> None:
        self._policy.warm_up()

    def look(self, observation: Observation, seed: int, committed: Committed | None = None) -> Inference:
        foreseen = self._policy.look(observation, seed, committed).subgoal
        assert foreseen is not None
        return self._policy.look(observation, seed, committed, subgoal=self._choose(foreseen))

    def place(self, inference: Inference, reference: Reference) -> Targets:
        return self._policy.place(inference, reference)


def present(foreseen: Subgoal) -> Features:
    """What the camera sees now."""
    return foreseen.current


class OfTheEpisodeBefore:
    """Foreseen features of the episode before, look by look; the last one again where that episode was shorter."""

    def __init__(self) -> None:
        self._before: list[Features] = []
        self._now: list[Features] = []

    def next_episode(self) -> None:
        self._before, self._now = self._now, []

    def __call__(self, foreseen: Subgoal) -> Features:
        """Features for this look; in the first episode, which has none before it, its own."""
        self._now.append(foreseen.predicted)
        number = len(self._now) - 1
        return self._before[min(number, len(self._before) - 1)] if self._before else foreseen.predicted
