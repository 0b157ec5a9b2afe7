"""Other subgoals than the foreseen ones reach the action expert, and only it."""

import numpy as np

from lawam_ros.contract.records import Subgoal
from lawam_ros.policies.given_subgoals import GivenSubgoals, OfTheEpisodeBefore, present
from lawam_ros.policies.interface import Inference


def foreseen(value: float) -> Subgoal:
    features = np.full((4, 2), value, np.float32)
    return Subgoal(stamp_ns=0, camera="front", grid_hw=(2, 2), current=-features, predicted=features)


class Lawam:
    """Tells what it was asked; foresees 1, 2, 3, ..."""

    description = "stand-in"

    def __init__(self) -> None:
        self.looks = 0
        self.given: list[float] = []

    def look(self, observation, seed, committed=None, subgoal=None):
        if subgoal is None:
            self.looks += 1
        else:
            self.given.append(float(subgoal[0, 0]))
        return Inference(actions=np.zeros((1, 7)), subgoal=foreseen(self.looks))


def test_the_present_stands_in_for_the_future():
    lawam = Lawam()
    policy = GivenSubgoals(lawam, present)
    for _ in range(2):
        policy.look(None, seed=0)
    assert lawam.given == [-1.0, -2.0]


def test_subgoals_come_from_the_episode_before():
    lawam, others = Lawam(), OfTheEpisodeBefore()
    policy = GivenSubgoals(lawam, others)
    for looks in (2, 3, 1):
        others.next_episode()
        for _ in range(looks):
            policy.look(None, seed=0)
    # The first episode reads its own, the second the first's and its last once more, the third the second's.
    assert lawam.given == [1.0, 2.0, 1.0, 2.0, 2.0, 3.0]
