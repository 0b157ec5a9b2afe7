"""A robot without physics: it is where it was told to be, at the speed it was told."""

import numpy as np

from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.robot import Robot


class KinematicRobot:
    """Starts at home with open grippers and stays where the last command put it."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        home = np.concatenate([arm.home_rad for arm in robot.arms])
        openings = {arm.name: arm.gripper.opening_max_m for arm in robot.arms}
        self._command = JointCommand(0, home, np.zeros_like(home), np.zeros_like(home), openings)

    def apply(self, command: JointCommand) -> None:
        """Take a set-point; one with numbers that are not finite raises ValueError and changes nothing."""
        numbers = np.concatenate([command.positions_rad, command.velocities_rad_s, list(command.gripper_m.values())])
        if not np.isfinite(numbers).all():
            raise ValueError("expected finite positions, velocities and openings")
        self._command = command

    def joint_positions(self) -> dict[str, float]:
        """All joints of the description that are measured, by name (rad; fingers and lifts in their own units)."""
        measured = dict(zip(self._robot.joint_names, self._command.positions_rad.tolist(), strict=True))
        for arm in self._robot.arms:
            measured |= dict.fromkeys(arm.gripper.joints, self._command.gripper_m[arm.name] / arm.gripper.opening_per_joint)
        return measured | dict(self._robot.standing_joints)

    def joint_velocities(self) -> dict[str, float]:
        """Velocities of the same joints; those of fingers are not known and given as 0."""
        commanded = dict(zip(self._robot.joint_names, self._command.velocities_rad_s.tolist(), strict=True))
        return dict.fromkeys(self.joint_positions(), 0.0) | commanded
