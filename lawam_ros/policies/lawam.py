"""LaWAM behind the policy interface: slots of the contract in and out of the engine."""

import numpy as np
import torch
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Observation, Subgoal
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.contract.task import ACTION_SLOTS
from lawam_ros.data.action_space import (
    absolute_from_relative,
    action_width,
    relative_from_absolute,
    slot_ranges,
    state_vector,
)
from lawam_ros.model.engine import Engine
from lawam_ros.model.real_time_chunking import ChunkPrefix
from lawam_ros.policies.committed import Committed
from lawam_ros.policies.interface import Inference, Reference, Targets
from lawam_ros.policies.made_up import made_up_observation, made_up_reference


class LawamPolicy:
    """Runs one checkpoint on one contract; what does not fit is refused here, before anything moves."""

    def __init__(self, engine: Engine, contract: Contract) -> None:
        engine.check(contract.task.policy, contract.robot.embodiment_id)
        if engine.facts is None:
            raise UserMistake(
                f"checkpoint {engine.checkpoint.path.name} does not say what its actions mean (deltas or poses, which frame), so it must "
                "not move an arm; expected one with a lawam_ros block in its config.yaml, as 'lawam train' writes it"
            )
        self._engine = engine
        self._contract = contract
        self.description = engine.checkpoint.path.name

    def warm_up(self) -> None:
        robot = self._contract.robot
        observation, references = made_up_observation(self._contract), made_up_reference(self._contract)
        rows = {arm: np.repeat(row[None], self._contract.task.policy.steps, axis=0) for arm, row in references.items()}
        trained = self._engine.facts.trained_delay_steps if self._engine.facts else 0
        try:
            self.place(self.look(observation, seed=0), references)
            # On a GPU each kind of prefix is captured the first time it is used, which must not be in motion.
            for delay_steps in range(1, max(1, trained) + 1):
                self.look(observation, seed=0, committed=Committed(rows, delay_steps, references))
        except ValueError as error:
            raise UserMistake(
                f"checkpoint {self.description} does not fit task {self._contract.task.name} on {robot.name}: {error}"
            ) from error

    def look(
        self, observation: Observation, seed: int, committed: Committed | None = None, subgoal: NDArray[np.float32] | None = None
    ) -> Inference:
        """As in the interface; subgoal: features (rows * columns, F) the action expert reads in place of the predicted ones."""
        policy, robot = self._contract.task.policy, self._contract.robot
        prefix = None if committed is None else self._prefix(committed)
        result = self._engine.infer(
            primary=[observation.images[name] for name in policy.primary_cameras],
            wrist=[observation.images[name] for name in policy.wrist_cameras],
            instruction=observation.instruction,
            state=self._state(observation),
            embodiment_id=robot.embodiment_id,
            action_hz=policy.action_hz,
            seed=seed,
            prefix=prefix,
            subgoal=subgoal,
        )
        foreseen = Subgoal(
            stamp_ns=observation.stamp_ns,
            camera=policy.primary_cameras[0],
            grid_hw=result.grid_hw,
            current=result.h_t,
            predicted=result.h_t1,
        )
        return Inference(
            actions=np.asarray(result.actions, dtype=float),
            subgoal=foreseen,
            stage_ms=result.stage_ms,
            committed_steps=0 if prefix is None else prefix.delay_steps,
            exact_prefix=prefix is not None and prefix.trained,
        )

    def place(self, inference: Inference, reference: Reference) -> Targets:
        policy, arms = self._contract.task.policy, self._contract.robot.arms
        width = action_width(policy.action)
        values = [
            absolute_from_relative(inference.actions[:, i * width : (i + 1) * width], reference[arm.name], policy.action)
            for i, arm in enumerate(arms)
        ]
        steps = np.arange(len(inference.actions)) + policy.action_offset_steps
        return Targets(
            components=tuple(f"{arm.name}/{component}" for arm in arms for component in CARTESIAN_COMPONENTS),
            values=np.concatenate(values, axis=1),
            time_from_start_s=steps / policy.action_hz,
        )

    def _prefix(self, committed: Committed) -> ChunkPrefix:
        """The committed rows as the model's own actions: set where the checkpoint was trained for it, else guided with grippers free."""
        policy, arms = self._contract.task.policy, self._contract.robot.arms
        parts = [relative_from_absolute(committed.rows[arm.name], committed.reference[arm.name], policy.action) for arm in arms]
        actions = torch.from_numpy(self._engine.normalise_actions(np.concatenate(parts, axis=1)))
        facts = self._engine.facts
        trained = facts is not None and 0 < committed.delay_steps <= facts.trained_delay_steps
        width = action_width(policy.action)
        gripper = slot_ranges(policy.action, ACTION_SLOTS).get("gripper_opening", slice(0, 0))
        free = tuple(arm * width + dim for arm in range(len(arms)) for dim in range(gripper.start, gripper.stop))
        attend = min(len(actions), policy.steps)
        return ChunkPrefix(actions, min(committed.delay_steps, attend), attend, free_dims=free, trained=trained)

    def _state(self, observation: Observation) -> NDArray[np.float64]:
        slots = self._contract.task.policy.state
        return np.concatenate(
            [state_vector(observation.tcp[arm.name], observation.gripper_m[arm.name], slots) for arm in self._contract.robot.arms]
        )
