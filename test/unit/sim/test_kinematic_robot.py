"""The robot of hardware:=mock does as told."""

import dataclasses

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.robot_file import robot_from_mapping
from lawam_ros.contract.yaml_fields import load_yaml
from lawam_ros.sim.kinematic_robot import KinematicRobot

ROBOTS = sorted(path.stem for path in (config_dir() / "robots").glob("*.yaml"))


@pytest.mark.parametrize("name", ROBOTS)
def test_every_robot_stands_at_home_with_open_grippers(name):
    robot = robot_from_mapping(load_yaml(config_dir() / "robots" / f"{name}.yaml", "robot"), name)
    measured = KinematicRobot(robot).joint_positions()
    for arm in robot.arms:
        assert [measured[joint] for joint in arm.joints] == arm.home_rad.tolist()
        openings = [arm.gripper.opening_per_joint * measured[joint] for joint in arm.gripper.joints]
        assert openings == pytest.approx([arm.gripper.opening_max_m] * len(openings))
    assert dict(robot.standing_joints).items() <= measured.items()
    assert set(KinematicRobot(robot).joint_velocities()) == set(measured)


def test_it_is_where_the_last_good_command_put_it():
    robot = load_contract("franka_pick_place", "franka_fr3").robot
    mock = KinematicRobot(robot)
    command = JointCommand(1, np.linspace(0.1, 0.7, 7), np.full(7, 0.2), np.zeros(7), {"arm": 0.03})
    mock.apply(command)
    with pytest.raises(ValueError, match="finite"):
        mock.apply(dataclasses.replace(command, positions_rad=np.full(7, np.nan)))
    assert [mock.joint_positions()[name] for name in robot.joint_names] == command.positions_rad.tolist()
    assert [mock.joint_velocities()[name] for name in robot.joint_names] == [0.2] * 7
    assert mock.joint_positions()["fr3_finger_joint1"] == pytest.approx(0.015)
