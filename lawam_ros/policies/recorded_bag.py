"""Playback of the chunks of a recorded run: what the recorded policy answered to an observation, again."""

from pathlib import Path

import numpy as np

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import ActionChunk, Observation
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_streams import bag_streams
from lawam_ros.data.recorded_run import read_run
from lawam_ros.policies.committed import Committed
from lawam_ros.policies.interface import Inference, Reference, Targets


class RecordedChunks:
    """Answers an observation with the chunk that was recorded for it: the newest one not made after it.

    It is told the recorded instants of observations by a replay; elsewhere stamps are those of the recording.
    """

    def __init__(self, path: Path, contract: Contract) -> None:
        """Raises UserMistake for a bag without chunks."""
        with Bag(path) as bag:
            chunks = read_run(bag, bag_streams(bag.topics, contract.robot, {}), contract.robot).chunks
        if not chunks:
            raise UserMistake(f"{path.name}: expected a recorded run, found no lawam/action_chunk; replay it with a checkpoint")
        self._chunks = chunks
        self._stamps_ns = np.array([chunk.stamp_ns for chunk in chunks])
        self.description = f"recording {path.name}"

    def warm_up(self) -> None:
        """Nothing to warm up."""

    def look(self, observation: Observation, seed: int, committed: Committed | None = None) -> Inference:
        return Inference(actions=self._chunk(observation.stamp_ns).values)

    def place(self, inference: Inference, reference: Reference) -> Targets:
        chunk = next(chunk for chunk in self._chunks if chunk.values is inference.actions)
        return Targets(chunk.components, chunk.values, chunk.time_from_start_s)

    def _chunk(self, stamp_ns: int) -> ActionChunk:
        return self._chunks[max(0, int(np.searchsorted(self._stamps_ns, stamp_ns, side="right")) - 1)]
