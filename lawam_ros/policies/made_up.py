"""An observation and a commanded pose that nobody made, to try a policy before the first real ones."""

import numpy as np

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Observation, Pose
from lawam_ros.data.action_space import ABSOLUTE_WIDTH
from lawam_ros.policies.interface import Reference


def made_up_observation(contract: Contract) -> Observation:
    """Black images, every arm's TCP in its base frame's origin, grippers closed."""
    robot = contract.robot
    images = {camera.name: np.zeros((camera.height, camera.width, 3), np.uint8) for camera in robot.cameras}
    pose = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
    return Observation(
        stamp_ns=0,
        images=images,
        image_stamps_ns=dict.fromkeys(images, 0),
        tcp={arm.name: pose for arm in robot.arms},
        gripper_m={arm.name: 0.0 for arm in robot.arms},
        joints_rad=np.zeros(len(robot.joint_names)),
        instruction=contract.task.instruction,
    )


def made_up_reference(contract: Contract) -> Reference:
    row = np.zeros(ABSOLUTE_WIDTH)
    row[6] = 1.0
    return {arm.name: row for arm in contract.robot.arms}
