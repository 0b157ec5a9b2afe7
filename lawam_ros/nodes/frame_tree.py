"""What TF says about frames the robot description does not know: cameras on their mounts.

TF messages are read where the system has them (tf2_msgs comes with ROS 2 and not with its core wheels).
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from lawam_ros.contract.records import Pose
from lawam_ros.control.link_frames import transform_of
from lawam_ros.nodes import qos

Array = NDArray[np.float64]

_LONGEST_WAY = 32


class FrameTree:
    """Newest transform of each frame to its parent."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, Array]] = {}

    def listen(self, node: Node) -> None:
        """Follow /tf and /tf_static where their type is there."""
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            return
        node.create_subscription(TFMessage, "/tf", self.take, qos.TF)
        node.create_subscription(TFMessage, "/tf_static", self.take, qos.TF_STATIC)

    def take(self, message: Any) -> None:
        """A TFMessage."""
        for stamped in message.transforms:
            t, q = stamped.transform.translation, stamped.transform.rotation
            pose = Pose(position_m=np.array([t.x, t.y, t.z]), quat_xyzw=np.array([q.x, q.y, q.z, q.w]))
            self._parents[stamped.child_frame_id.lstrip("/")] = (stamped.header.frame_id.lstrip("/"), transform_of(pose))

    def way_to(self, links: Collection[str], frame: str) -> tuple[str, Array] | None:
        """The first of ``links`` on the way from a frame to the root, and T_link_frame (4, 4)."""
        out = np.eye(4)
        for _ in range(_LONGEST_WAY):
            if frame in links:
                return frame, out
            if frame not in self._parents:
                return None
            frame, step = self._parents[frame]
            out = step @ out
        return None
