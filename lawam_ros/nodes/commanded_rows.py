"""Commanded poses and openings of the last seconds, as the executor publishes them, looked up at the instant of an observation."""

import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped

from lawam_ros.contract.records import JointCommand, Pose
from lawam_ros.contract.robot import Robot
from lawam_ros.nodes import messages
from lawam_ros.observe.alignment import pose_at
from lawam_ros.observe.timed_buffer import TimedBuffer
from lawam_ros.policies.interface import Reference


class CommandedRows:
    """Written by subscriptions, read by the worker."""

    def __init__(self, robot: Robot) -> None:
        self._skew_s = robot.budgets.camera_joint_skew_s
        self._poses: dict[str, TimedBuffer[Pose]] = {arm.name: TimedBuffer(600) for arm in robot.arms}
        self._grippers: TimedBuffer[dict[str, float]] = TimedBuffer(600)

    def pose_callback(self, arm: str) -> Callable[[PoseStamped], None]:
        def on_pose(message: PoseStamped) -> None:
            self._poses[arm].push(messages.nanoseconds(message.header.stamp), messages.pose_from_message(message))

        return on_pose

    def command(self, command: JointCommand) -> None:
        self._grippers.push(command.stamp_ns, command.gripper_m)

    def at(self, stamp_ns: int, wait_s: float, exact: bool) -> Reference | None:
        """Rows ``x y z qx qy qz qw gripper`` per arm; usually there already, waited for when the executor is behind, None after ``wait_s``.

        exact: only an opening commanded at this very instant will do, as in lock step.
        """
        deadline = time.monotonic() + wait_s
        while True:
            late = time.monotonic() > deadline
            skew_s = self._skew_s if late else 0.0  # interpolated, or in the end the newest before
            rows = {}
            gripper = self._grippers.newest_until(stamp_ns)
            if exact and gripper is not None and gripper.stamp_ns != stamp_ns:
                gripper = None  # the one of this instant is on its way
            for arm, poses in self._poses.items():
                pose = pose_at(poses, stamp_ns, skew_s)
                if pose is not None and gripper is not None:
                    rows[arm] = np.concatenate([pose.position_m, pose.quat_xyzw, [gripper.value[arm]]])
            if len(rows) == len(self._poses):
                return rows
            if late:
                return None
            time.sleep(0.002)
