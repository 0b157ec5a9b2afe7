"""Playback of one recorded episode: the commanded targets of a dataset, by the time since the first look.

An arm that was held, or whose first chunk came late, has fallen behind: the playback then goes on from where the arm is.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Observation
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.policies.committed import Committed
from lawam_ros.policies.interface import Inference, Reference, Targets

Array = NDArray[np.float64]


def row_within_reach(distances_m: Array, followed: int, due: int, reach_m: float) -> int:
    """Row to play when ``due`` is the one of the clock: the nearest since ``followed`` where the arm is further than ``reach_m`` from it.

    distances_m: (T,) from the measured TCP to each recorded target, the largest of all arms. followed: the last row the arm was near.
    """
    if distances_m[due] <= reach_m:
        return due
    return followed + int(np.argmin(distances_m[followed : due + 1]))


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
        self._followed = 0
        self.description = f"recording {folder.name}#{episode}"

    def warm_up(self) -> None:
        """Nothing to warm up."""

    def look(self, observation: Observation, seed: int, committed: Committed | None = None) -> Inference:
        if self._start is None or self._start[0] != observation.epoch:
            self._start, self._followed = (observation.epoch, observation.stamp_ns), 0
        policy = self._contract.task.policy
        last = len(self._targets) - 1
        elapsed = round((observation.stamp_ns - self._start[1]) * 1e-9 * policy.action_hz)
        due = min(max(elapsed, self._followed), last)
        reach_m = self._contract.robot.budgets.chunk_start_distance_m
        self._followed = row_within_reach(self._distances_m(observation), self._followed, due, reach_m)
        if self._followed < due:
            self._start = (observation.epoch, observation.stamp_ns - round(self._followed / policy.action_hz * 1e9))
        rows = np.clip(np.arange(self._followed, self._followed + policy.steps), 0, last)
        return Inference(actions=self._targets[rows])

    def place(self, inference: Inference, reference: Reference) -> Targets:
        policy = self._contract.task.policy
        steps = np.arange(len(inference.actions)) + policy.action_offset_steps
        components = tuple(f"{arm.name}/{c}" for arm in self._contract.robot.arms for c in CARTESIAN_COMPONENTS)
        return Targets(components=components, values=inference.actions, time_from_start_s=steps / policy.action_hz)

    def _distances_m(self, observation: Observation) -> Array:
        width = len(CARTESIAN_COMPONENTS)
        measured_m = [observation.tcp[arm.name].position_m for arm in self._contract.robot.arms]
        away = [np.linalg.norm(self._targets[:, i * width : i * width + 3] - place, axis=1) for i, place in enumerate(measured_m)]
        return np.asarray(np.max(away, axis=0))
