"""The robot's base frame and the base frames of its arms."""

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Pose
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.rotations import quat_from_matrix, quat_inverse, quat_multiply
from lawam_ros.control.kinematics import fixed_transform

Array = NDArray[np.float64]


class BaseFrames:
    """Points (..., 3) and poses between the frames; arms by name."""

    def __init__(self, robot: Robot, urdf_text: str) -> None:
        """Raises UserMistake where a joint moves between them."""
        self._transforms = {arm.name: fixed_transform(urdf_text, robot.base_frame, arm.base_frame) for arm in robot.arms}
        self._quats = {name: quat_from_matrix(transform[:3, :3]) for name, transform in self._transforms.items()}

    def origin_m(self, arm: str) -> Array:
        """Where the arm stands in the robot's base frame."""
        return np.array(self._transforms[arm][:3, 3])

    def to_base(self, arm: str, pose: Pose) -> Pose:
        return Pose(self.points_to_base(arm, pose.position_m), quat_multiply(self._quats[arm], pose.quat_xyzw))

    def to_arm(self, arm: str, pose: Pose) -> Pose:
        return Pose(self.points_to_arm(arm, pose.position_m), quat_multiply(quat_inverse(self._quats[arm]), pose.quat_xyzw))

    def points_to_base(self, arm: str, points_m: Array) -> Array:
        transform = self._transforms[arm]
        return np.asarray(points_m @ transform[:3, :3].T + transform[:3, 3])

    def points_to_arm(self, arm: str, points_m: Array) -> Array:
        transform = self._transforms[arm]
        return np.asarray((points_m - transform[:3, 3]) @ transform[:3, :3])
