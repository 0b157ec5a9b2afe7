"""The Quanta X1, its official side, and a contract with two arms and three cameras."""

from dataclasses import replace

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import config_dir, urdf_dir
from lawam_ros.contract.robot_file import robot_from_mapping
from lawam_ros.contract.yaml_fields import load_yaml
from lawam_ros.control.official_rows import official_arms

ROBOT = robot_from_mapping(load_yaml(config_dir() / "robots" / "quanta_x1.yaml", "robot"), "quanta_x1")
URDF = (urdf_dir() / ROBOT.urdf).read_text(encoding="utf-8")
ARMS = official_arms(ROBOT, URDF)

_ONE_ARM = load_contract("franka_pick_place")
_POLICY = replace(_ONE_ARM.task.policy, wrist_cameras=("left_wrist", "right_wrist"))
TWO_ARMED = replace(_ONE_ARM, robot=ROBOT, task=replace(_ONE_ARM.task, policy=_POLICY))
"""The slots of the pick-and-place policy, for each arm."""
