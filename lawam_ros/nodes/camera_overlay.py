"""The chunk in the pictures of one camera."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from lawam_ros.contract.robot import Camera, Robot
from lawam_ros.contract.view_topics import overlay_topic
from lawam_ros.control.hand_paths import HandPath, in_frame
from lawam_ros.control.link_frames import LinkFrames, transform_of
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.frame_tree import FrameTree
from lawam_ros.nodes.images import ImageMessage, image_to_rgb, rgb_to_image
from lawam_ros.observe.image import BadImage
from lawam_ros.viz.chunk_path import ChunkPath, draw_path
from lawam_ros.viz.pinhole import Pinhole

Array = NDArray[np.float64]

KEPT_S = 1.0
"""How long a chunk that is over stays in the picture, in grey."""


class CameraOverlay:
    """Publishes ``lawam/overlay/<camera>`` while somebody looks."""

    def __init__(self, node: Node, robot: Robot, camera: Camera, links: LinkFrames, tree: FrameTree) -> None:
        self._robot, self._camera, self._links, self._tree = robot, camera, links, tree
        self._info: CameraInfo | None = None
        self._publisher = node.create_publisher(Image, overlay_topic(camera.name), qos.IMAGE_OUT)
        node.create_subscription(CameraInfo, camera.info_topic, self._on_info, qos.SENSOR)
        self.problem = ""
        self.drawn = 0

    @property
    def watched(self) -> bool:
        return bool(self._publisher.get_subscription_count() > 0)

    def draw(self, message: ImageMessage, exposed_ns: int, paths: Sequence[HandPath], joints: Mapping[str, float] | None) -> None:
        """Publish the picture with the paths in it; where the camera's place is not known, without them and with a problem.

        joints: positions at the picture's exposure, standing joints included.
        """
        try:
            picture = image_to_rgb(message, self._camera)
        except BadImage as error:
            self.problem = str(error)
            return
        try:
            seen = self._seen(paths, message.header.frame_id, joints, exposed_ns)
            self.problem = ""
        except (ValueError, KeyError) as error:
            seen, self.problem = [], str(error)
        for path in seen:
            draw_path(picture, path)
        self._publisher.publish(rgb_to_image(picture, messages.nanoseconds(message.header.stamp), message.header.frame_id))
        self.drawn += 1

    def _seen(self, paths: Sequence[HandPath], frame_id: str, joints: Mapping[str, float] | None, exposed_ns: int) -> list[ChunkPath]:
        """Raises ValueError or KeyError where calibration, place or joints are missing."""
        fresh = [(path, path.ahead_s(exposed_ns)) for path in paths]
        fresh = [(path, ahead_s) for path, ahead_s in fresh if ahead_s[-1] > -KEPT_S]
        if not fresh:
            return []
        if joints is None:
            raise ValueError("expected joint states to know where the camera is, got none yet")
        pinhole, poses = self._pinhole(), self._links.poses(joints)
        link, T_link_camera = self._place(frame_id)
        T_camera_root = np.linalg.inv(poses[link] @ T_link_camera)
        seen = []
        for path, ahead_s in fresh:
            T_camera_base = T_camera_root @ poses[self._robot.arm(path.arm).base_frame]
            seen.append(ChunkPath(pinhole.pixels(in_frame(path.points_m, T_camera_base)), ahead_s, path.opening_m))
        return seen

    def _pinhole(self) -> Pinhole:
        if self._info is None:
            raise ValueError(f"expected a calibration on {self._camera.info_topic}, got none yet")
        pinhole = Pinhole.from_info(self._info, self._camera.is_rectified, self._camera.rotate_deg)
        size = (pinhole.height, pinhole.width) if self._camera.rotate_deg % 180 else (pinhole.width, pinhole.height)
        if size != (self._camera.width, self._camera.height):
            raise ValueError(f"expected a calibration for {self._camera.width}x{self._camera.height} pixels, got {size[0]}x{size[1]}")
        return pinhole

    def _place(self, frame_id: str) -> tuple[str, Array]:
        """Link that carries the camera, and its optical frame in that link: TF knows best, the robot file otherwise."""
        known = self._tree.way_to(self._links.links, frame_id.lstrip("/"))
        if known is not None:
            return known
        mount = self._camera.mount
        if mount is None or mount.link not in self._links.links:
            raise ValueError(
                f"expected to know where the camera is, from TF for frame '{frame_id}' or from cameras.{self._camera.name}.mount of the "
                f"robot file on a link of {self._robot.urdf}"
            )
        return mount.link, transform_of(mount.optical)

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message
