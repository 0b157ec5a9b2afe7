"""What the numbers of a server's actions mean, and the absolute rows they stand for.

Assumed, because no official file says it: the TCP that a server means is the robot file's ``tcp_frame``; rotations are about fixed axes of
the arm's base frame; LIBERO's steps are those of its simulator's controller, 0.05 m and 0.5 rad for a step of 1 (robosuite's OSC_POSE).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.rotations import quat_from_rotvec, quat_from_rpy, quat_make_continuous, quat_multiply, quat_normalise

Array = NDArray[np.float64]

ARM_SIZE = 7
"""Three numbers of position, three of rotation, one of the gripper."""

GRIPPERS = ("opening_m", "close_01", "open_01")
"""Opening in m; 1 closes and 0 opens; 1 opens and 0 closes."""


@dataclass(frozen=True)
class ActionMeaning:
    """One arm's seven numbers.

    absolute: x y z roll pitch yaw in the arm's base frame (R = Rz Ry Rx); else steps, each from the pose before it: displacement and
    rotation vector, both along the axes of the base frame. step_m, step_rad: how far a step of 1 goes. gripper: one of GRIPPERS.
    """

    absolute: bool
    gripper: str
    step_m: float = 1.0
    step_rad: float = 1.0

    def rows(self, actions: Array, reference: Array, opening_max_m: float) -> Array:
        """Absolute rows (N, 8) of actions (N, 7). reference: the commanded row (8,), from which steps count and quaternion signs follow."""
        if self.absolute:
            position, quat = actions[:, :3], quat_from_rpy(actions[:, 3:6])
        else:
            position = reference[:3] + self.step_m * np.cumsum(actions[:, :3], axis=0)
            quat = _turned(reference[3:7], self.step_rad * actions[:, 3:6])
        signed = quat_make_continuous(np.concatenate([reference[None, 3:7], quat]))[1:]
        return np.concatenate([position, signed, self._openings(actions[:, 6:7], opening_max_m)], axis=1)

    def _openings(self, gripper: Array, opening_max_m: float) -> Array:
        if self.gripper == "opening_m":
            return np.clip(gripper, 0.0, opening_max_m)
        opens = gripper < 0.5 if self.gripper == "close_01" else gripper >= 0.5
        return np.where(opens, opening_max_m, 0.0)


NAMED: Mapping[str, ActionMeaning] = {
    "libero": ActionMeaning(absolute=False, gripper="close_01", step_m=0.05, step_rad=0.5),
    "pose_rpy": ActionMeaning(absolute=True, gripper=""),
    "step_rotvec": ActionMeaning(absolute=False, gripper=""),
}
"""By the names that an address may give; without a gripper the address names that as well."""


def meaning_named(actions: str, gripper: str) -> ActionMeaning:
    """Raises UserMistake where something is left open: a pose taken for a step, or the reverse, moves an arm to a wrong place."""
    if not actions:
        raise UserMistake(
            f"an official server does not say what its actions mean; expected ?actions= with one of {', '.join(NAMED)} in its address, "
            "see docs/protocols.md"
        )
    meaning = NAMED[actions]
    if meaning.gripper and gripper not in ("", meaning.gripper):
        raise UserMistake(f"actions={actions} has its own gripper ({meaning.gripper}), got gripper={gripper}")
    if not (meaning.gripper or gripper):
        raise UserMistake(f"actions={actions} leaves the gripper open; expected &gripper= with one of {', '.join(GRIPPERS)} in the address")
    return replace(meaning, gripper=meaning.gripper or gripper)


def _turned(quat: Array, rotvecs: Array) -> Array:
    """Orientation (N, 4) after each rotation vector (N, 3), one upon the other, applied on the left."""
    out = []
    for rotvec in rotvecs:
        quat = quat_normalise(quat_multiply(quat_from_rotvec(rotvec), quat))
        out.append(quat)
    return np.stack(out)
