"""What the official clients do with states and actions: a golden case names the client whose rules its robot units follow."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model import robotwin_normalisation as robotwin
from lawam_ros.model.normalisation import DatasetStatistics, Statistics, Vector, denormalise_actions, normalise_state

Rule = Callable[[NDArray[np.floating], Statistics], Vector]


@dataclass(frozen=True)
class ClientRules:
    """state: robot units (..., D) to the model's. actions: model output (..., at least D) to robot units (..., D)."""

    state: Rule
    actions: Rule


TOWEL_SIZE = 14


def client_rules(client: object, statistics: DatasetStatistics) -> ClientRules:
    """Rules of a client by its name; of RoboTwin's, where the name says neither, by the size of the action vector.

    UserMistake for a client that is not known, and for statistics it cannot work with.
    """
    name = str(client).lower().replace("-", "_").replace(" ", "_")
    if "robotwin" in name:
        name = _robotwin(name, statistics.action)
    for known, rules in _RULES.items():
        if name == known or name.startswith(known + "_"):
            return rules
    raise UserMistake(f"client: expected one of {', '.join(_RULES)}, got {client!r}; its rules for robot units are not known here")


def _robotwin(name: str, action: Statistics) -> str:
    if "joint" in name:
        return "robotwin_joint"
    if "eef" in name or "pose" in name:
        return "robotwin_eef"
    return "robotwin_joint" if action.size == robotwin.JOINT_SIZE else "robotwin_eef"


def _libero_actions(normalised: NDArray[np.floating], statistics: Statistics) -> Vector:
    return denormalise_actions(normalised, statistics, snap_dims=(statistics.size - 1,))


def _towel_state(raw: NDArray[np.floating], statistics: Statistics) -> Vector:
    return normalise_state(raw, _towel(statistics), "min_max")


def _towel_actions(normalised: NDArray[np.floating], statistics: Statistics) -> Vector:
    return denormalise_actions(normalised, _towel(statistics), "min_max")


def _towel(statistics: Statistics) -> Statistics:
    if statistics.size != TOWEL_SIZE:
        raise UserMistake(f"client fold_towel: expected statistics of {TOWEL_SIZE} dimensions, got {statistics.size}")
    return statistics


_RULES = {
    "libero": ClientRules(normalise_state, _libero_actions),
    # The real Franka's server snaps nothing: a masked gripper comes back as the clipped number.
    "franka": ClientRules(normalise_state, denormalise_actions),
    "fold_towel": ClientRules(_towel_state, _towel_actions),
    "robotwin_eef": ClientRules(robotwin.normalise_pose_state, robotwin.denormalise_pose_actions),
    "robotwin_joint": ClientRules(robotwin.normalise_joint_state, robotwin.denormalise_joint_actions),
}
