"""How the official checkpoints and the vendor's own interface speak of a robot, where that differs from our absolute rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.yaml_fields import Fields

COMPONENTS = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


@dataclass(frozen=True)
class Official:
    """action: names ``<arm>/<component>`` in the official order; x y z in m, roll pitch yaw in rad about fixed axes (R = Rz Ry Rx), gripper
    in the units of the gripper's joint.

    x y z of an arm is the position of its ``end_pose_frames`` frame in its base frame minus ``end_pose_offset_m``; the rotation is that
    frame's, unchanged.
    """

    action_hz: float
    action: tuple[str, ...]
    end_pose_frames: dict[str, str]
    end_pose_offset_m: NDArray[np.float64]


def official_from_fields(fields: Fields, arms: list[str]) -> Official:
    """The robot file's ``official`` section. Raises UserMistake naming the key."""
    frames = fields.child("end_pose_frames")
    official = Official(
        action_hz=fields.number("action_hz", 1.0, 200.0),
        action=fields.texts("action"),
        end_pose_frames={name: frames.text(name) for name in arms},
        end_pose_offset_m=fields.vector("end_pose_offset_m", 3),
    )
    expected = {f"{arm}/{component}" for arm in arms for component in COMPONENTS}
    if set(official.action) != expected:
        raise UserMistake(f"official.action: expected each of {', '.join(sorted(expected))} once, got {', '.join(official.action)}")
    for part in (frames, fields):
        part.done()
    return official
