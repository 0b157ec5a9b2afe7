"""A policy that wants every arm where it is commanded: the whole graph without a model, to try a robot's wiring and to measure the rest."""

import numpy as np

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Observation
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.policies.committed import Committed
from lawam_ros.policies.interface import Inference, Reference, Targets


class HoldingPolicy:
    """Takes no time and moves nothing; its chunks are as long as the task's."""

    description = "holds the arm where it is"

    def __init__(self, contract: Contract) -> None:
        self._contract = contract

    def warm_up(self) -> None:
        """Nothing to warm up."""

    def look(self, observation: Observation, seed: int, committed: Committed | None = None) -> Inference:
        return Inference(actions=np.zeros((self._contract.task.policy.steps, 0)))

    def place(self, inference: Inference, reference: Reference) -> Targets:
        policy, arms = self._contract.task.policy, self._contract.robot.arms
        row = np.concatenate([reference[arm.name] for arm in arms])
        return Targets(
            components=tuple(f"{arm.name}/{part}" for arm in arms for part in CARTESIAN_COMPONENTS),
            values=np.repeat(row[None], len(inference.actions), axis=0),
            time_from_start_s=(np.arange(len(inference.actions)) + policy.action_offset_steps) / policy.action_hz,
        )
