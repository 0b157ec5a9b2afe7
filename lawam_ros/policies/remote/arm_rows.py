"""Observations and actions of all arms of a contract, in the layouts that servers speak."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Observation
from lawam_ros.data.action_space import absolute_from_relative, action_width, state_vector
from lawam_ros.policies.interface import Reference
from lawam_ros.policies.remote.action_meaning import ARM_SIZE, ActionMeaning

Array = NDArray[np.float64]


def state_of(observation: Observation, contract: Contract) -> Array:
    """State vector (D,) of the contract, arms one after the other."""
    slots, arms = contract.task.policy.state, contract.robot.arms
    return np.concatenate([state_vector(observation.tcp[arm.name], observation.gripper_m[arm.name], slots) for arm in arms])


def relative_rows(actions: Array, reference: Reference, contract: Contract) -> Mapping[str, Array]:
    """Absolute rows per arm of actions in the contract's own slots."""
    slots, arms = contract.task.policy.action, contract.robot.arms
    width = action_width(slots)
    _check_width(actions, width * len(arms))
    return {
        arm.name: absolute_from_relative(actions[:, i * width : (i + 1) * width], reference[arm.name], slots) for i, arm in enumerate(arms)
    }


def told_rows(actions: Array, reference: Reference, contract: Contract, meaning: ActionMeaning) -> Mapping[str, Array]:
    """Absolute rows per arm of actions that mean what an address says."""
    arms = contract.robot.arms
    _check_width(actions, ARM_SIZE * len(arms))
    return {
        arm.name: meaning.rows(actions[:, i * ARM_SIZE : (i + 1) * ARM_SIZE], reference[arm.name], arm.gripper.opening_max_m)
        for i, arm in enumerate(arms)
    }


def _check_width(actions: Array, width: int) -> None:
    if actions.ndim != 2 or actions.shape[1] != width:
        raise ValueError(f"expected actions (n, {width}), got {actions.shape}")
