"""An engine without weights: it remembers what it was asked and answers with counted numbers."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.engine import EngineOutput
from lawam_ros.model.facts import CheckpointFacts
from lawam_ros.model.normalisation import denormalise_actions, statistics_from_mapping

WIDTH = 32
TOKENS, FEATURES = (2, 3), 5
SLOTS = ("translation_chunk_relative", "rotvec_chunk_relative", "gripper_opening")


class FakeEngine:
    """Dimension d of action i is 0.01 * (i + 1) + 0.001 * d, normalised; every number ranges from low to high."""

    def __init__(self, size=7, state_size=7, facts=None, steps=4, low=-1.0, high=1.0, uses_state=True, mask=None):
        flow = SimpleNamespace(use_state=uses_state, num_inference_steps=10, horizon_s=1.2)
        self.config = SimpleNamespace(flow=flow)
        self.checkpoint = SimpleNamespace(path=Path("/checkpoints/fake"))
        self.facts, self.lerobot = facts, None
        entry = {"action": bounds(size, low, high, mask)} | ({"state": bounds(state_size, -2.0, 2.0)} if uses_state else {})
        self.statistics = statistics_from_mapping("franka", entry, "fake")
        self.asked = []
        self.fails_with = None
        self._steps = steps

    def infer(self, primary, wrist, instruction, state, embodiment_id, action_hz, steps=None, guidance_scale=None, **others):
        self.asked.append(SimpleNamespace(**{k: v for k, v in locals().items() if k not in ("self", "others")}, **others))
        if self.fails_with is not None:
            raise self.fails_with
        if not instruction:
            raise UserMistake("expected an instruction in words, got an empty text")
        normalised = (0.01 * (np.arange(self._steps) + 1)[:, None] + 0.001 * np.arange(WIDTH)).astype(np.float32)
        features = np.arange(TOKENS[0] * TOKENS[1] * FEATURES, dtype=np.float32).reshape(-1, FEATURES)
        return EngineOutput(
            normalised, denormalise_actions(normalised, self.statistics.action), features, features + 1.0, TOKENS, {"total": 1.0}
        )


def bounds(size, low, high, mask=None):
    return {"min": [low] * size, "max": [high] * size, "mask": mask or [True] * size}


def facts_of(contract, **changes):
    """What a checkpoint trained under this contract would say of itself."""
    policy, robot = contract.task.policy, contract.robot
    fields = {
        "robot": robot.name,
        "embodiment_tag": robot.embodiment_tag,
        "embodiment_id": robot.embodiment_id,
        "action_hz": policy.action_hz,
        "horizon_s": policy.horizon_s,
        "action_offset_steps": policy.action_offset_steps,
        "primary_cameras": policy.primary_cameras,
        "wrist_cameras": policy.wrist_cameras,
        "state": policy.state,
        "action": policy.action,
    }
    return CheckpointFacts(**(fields | changes))
