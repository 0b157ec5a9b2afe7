"""One checkpoint that many connections ask, one at a time."""

import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.records import Pose
from lawam_ros.data.action_space import state_vector
from lawam_ros.model.action_components import components_of_slots
from lawam_ros.model.engine import Engine, EngineOutput
from lawam_ros.model.normalisation import Statistics, denormalise
from lawam_ros.policies.wire.images import Image
from lawam_ros.policies.wire.peer_mistake import PeerMistake


class ServedPolicy:
    """An engine behind a lock. Its refusals and failures become PeerMistake: the peer gets a sentence, the server lives on."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self._lock = threading.Lock()

    @property
    def uses_state(self) -> bool:
        return bool(self.engine.config.flow.use_state)

    @property
    def action_size(self) -> int:
        return self.engine.statistics.action.size

    def infer(
        self,
        primary: Sequence[Image],
        wrist: Sequence[Image],
        instruction: str,
        state: NDArray[np.floating] | None,
        embodiment_id: int,
        action_hz: float,
        steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> EngineOutput:
        """One chunk with fresh noise. state: in robot units as the checkpoint speaks them. Raises PeerMistake."""
        try:
            with self._lock:
                return self.engine.infer(
                    primary, wrist, instruction, state, embodiment_id, action_hz, steps=steps, guidance_scale=guidance_scale
                )
        except UserMistake as error:
            raise PeerMistake(str(error)) from error
        except Exception as error:  # out of memory, a driver error: the next request may do better, and this one gets an answer
            traceback.print_exc(file=sys.stderr)
            raise PeerMistake(f"the model failed on this request ({type(error).__name__}); the server's log says more") from error

    def robot_units(self, state: NDArray[np.floating] | None) -> NDArray[np.float64] | None:
        """A state in the model's units (-1..1, perhaps padded) in robot units; None where the checkpoint reads none."""
        statistics = self.engine.statistics.state
        if not self.uses_state or state is None or statistics is None:
            return None
        if len(state) < statistics.size:
            raise PeerMistake(f"expected a state of at least {statistics.size} numbers as in the checkpoint's statistics, got {len(state)}")
        mode = self.engine.facts.state_mode if self.engine.facts else None
        if mode is None:
            mode = "min_max" if statistics.minimum is not None else "q99"
        return denormalise(state[: statistics.size], statistics, mode).astype(float)

    def state_of_arms(self, arms: Sequence[tuple[Pose, float]]) -> NDArray[np.float64]:
        """The state a checkpoint of ours reads: TCP pose in the arm's base frame and opening in m of each arm."""
        assert self.engine.facts is not None
        return np.concatenate([state_vector(pose, opening_m, self.engine.facts.state) for pose, opening_m in arms])

    def metadata(self) -> dict[str, Any]:
        """What the actions mean, as plain values: contract and statistics of the checkpoint. Facts are None for foreign layouts."""
        statistics, facts = self.engine.statistics, self.engine.facts
        return {
            "checkpoint": self.name,
            "facts": facts.to_mapping() if facts else None,
            "components": [asdict(part) for part in components_of_slots(facts.action, self.action_size)] if facts else None,
            "statistics_tag": statistics.tag,
            "statistics": {
                "action": _plain(statistics.action),
                "state": _plain(statistics.state) if statistics.state is not None else None,
            },
        }


def _plain(statistics: Statistics) -> dict[str, Any]:
    """Statistics under the names of ``dataset_statistics.json``."""
    vectors = {
        "min": statistics.minimum,
        "max": statistics.maximum,
        "q01": statistics.q01,
        "q99": statistics.q99,
        "mean": statistics.mean,
        "std": statistics.std,
        "mask": statistics.mask,
    }
    return {name: vector.tolist() for name, vector in vectors.items() if vector is not None}
