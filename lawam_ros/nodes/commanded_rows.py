"""Commanded poses and openings of the last seconds, as the executor publishes them, looked up at the instant of an observation."""

import threading
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
        kept = round(2.0 * robot.budgets.max_chunk_age_s * robot.tick_hz)  # a slow policy asks for an instant long past
        self._poses: dict[str, TimedBuffer[Pose]] = {arm.name: TimedBuffer(kept) for arm in robot.arms}
        self._grippers: TimedBuffer[dict[str, float]] = TimedBuffer(kept)
        self._news = threading.Condition()

    def pose_callback(self, arm: str) -> Callable[[PoseStamped], None]:
        def on_pose(message: PoseStamped) -> None:
            self._poses[arm].push(messages.nanoseconds(message.header.stamp), messages.pose_from_message(message))
            self._tell()

        return on_pose

    def command(self, command: JointCommand) -> None:
        self._grippers.push(command.stamp_ns, command.gripper_m)
        self._tell()

    def _tell(self) -> None:
        with self._news:
            self._news.notify_all()

    def at(self, stamp_ns: int, wait_s: float, settled: bool) -> Reference | None:
        """Rows ``x y z qx qy qz qw gripper`` per arm; usually there already, waited for when the executor is behind, None after ``wait_s``.

        settled: only once a command of this instant or later is there, as in lock step, where the answer must not depend on who is quicker.
        """
        deadline = time.monotonic() + wait_s
        with self._news:
            while True:
                left_s = deadline - time.monotonic()
                # Interpolated, or in the end the newest before.
                rows = self._rows(stamp_ns, settled, skew_s=0.0 if left_s > 0.0 else self._skew_s)
                if rows is not None or left_s <= 0.0:
                    return rows
                self._news.wait(left_s)

    def _rows(self, stamp_ns: int, settled: bool, skew_s: float) -> Reference | None:
        pair = self._grippers.around(stamp_ns)
        gripper = pair[0] if pair else None if settled else self._grippers.newest_until(stamp_ns)
        if gripper is None:
            return None
        poses = {arm: pose_at(buffer, stamp_ns, skew_s) for arm, buffer in self._poses.items()}
        rows = {
            arm: np.concatenate([pose.position_m, pose.quat_xyzw, [gripper.value[arm]]]) for arm, pose in poses.items() if pose is not None
        }
        return rows if len(rows) == len(poses) else None
