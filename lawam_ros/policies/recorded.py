"""Playback of one recorded episode: the commanded targets of a dataset, by the time since the first look."""

from pathlib import Path

import numpy as np

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Observation
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.policies.committed import Committed
from lawam_ros.policies.interface import Inference, Reference, Targets


class RecordedPolicy:
    """Plays ``episode`` of a LeRobot folder. The clock of the playback starts anew whenever the epoch changes."""

    def __init__(self, folder: Path, episode: int, contract: Contract) -> None:
        dataset = LeRobotDataset(folder)
        if not 0 <= episode < len(dataset):
            raise UserMistake(f"{folder.name}: expected an episode from 0 to {len(dataset) - 1}, got {episode}")
        if dataset.fps != contract.task.policy.action_hz:
            raise UserMistake(f"{folder.name}: recorded at {dataset.fps} Hz, the task runs at {contract.task.policy.action_hz} Hz")
        self._targets = np.asarray(dataset.rows(episode, ["action"])["action"], dtype=float)
        self._contract = contract
        self._start: tuple[int, int] | None = None
        self.description = f"recording {folder.name}#{episode}"

    def warm_up(self) -> None:
        """Nothing to warm up."""

    def look(self, observation: Observation, seed: int, committed: Committed | None = None) -> Inference:
        if self._start is None or self._start[0] != observation.epoch:
            self._start = (observation.epoch, observation.stamp_ns)
        policy = self._contract.task.policy
        first = round((observation.stamp_ns - self._start[1]) * 1e-9 * policy.action_hz)
        rows = np.clip(np.arange(first, first + policy.steps), 0, len(self._targets) - 1)
        return Inference(actions=self._targets[rows])

    def place(self, inference: Inference, reference: Reference) -> Targets:
        policy = self._contract.task.policy
        steps = np.arange(len(inference.actions)) + policy.action_offset_steps
        components = tuple(f"{arm.name}/{c}" for arm in self._contract.robot.arms for c in CARTESIAN_COMPONENTS)
        return Targets(components=components, values=inference.actions, time_from_start_s=steps / policy.action_hz)
