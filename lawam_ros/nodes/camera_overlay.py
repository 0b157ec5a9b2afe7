"""The chunk in the pictures of one camera."""

from collections.abc import Mapping, Sequence

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from lawam_ros.contract.robot import Camera, Robot
from lawam_ros.contract.view_topics import overlay_topic
from lawam_ros.control.hand_paths import HandPath
from lawam_ros.control.link_frames import LinkFrames
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.frame_tree import FrameTree
from lawam_ros.nodes.images import ImageMessage, image_to_rgb, rgb_to_image
from lawam_ros.observe.image import BadImage
from lawam_ros.viz.camera_view import CameraView
from lawam_ros.viz.chunk_path import draw_path


class CameraOverlay:
    """Publishes ``lawam/overlay/<camera>`` while somebody looks."""

    def __init__(self, node: Node, robot: Robot, camera: Camera, links: LinkFrames, tree: FrameTree) -> None:
        self._camera, self._links, self._tree = camera, links.links, tree
        self._view = CameraView(robot, camera, links)
        self._publisher = node.create_publisher(Image, overlay_topic(camera.name), qos.IMAGE_OUT)
        node.create_subscription(CameraInfo, camera.info_topic, self._view.calibrate, qos.SENSOR)
        self.problem = ""
        self.drawn = 0

    @property
    def watched(self) -> bool:
        return bool(self._publisher.get_subscription_count() > 0)

    def draw(self, message: ImageMessage, exposed_ns: int, paths: Sequence[HandPath], joints: Mapping[str, float] | None) -> None:
        """Publish the picture with the paths in it; where the camera's place is not known, without them and with a problem.

        joints: positions at the picture's exposure.
        """
        try:
            picture = image_to_rgb(message, self._camera)
        except BadImage as error:
            self.problem = str(error)
            return
        try:
            place = self._tree.way_to(self._links, message.header.frame_id.lstrip("/"))
            seen = self._view.paths_seen(paths, joints, exposed_ns, place)
            self.problem = ""
        except (ValueError, KeyError) as error:
            seen, self.problem = [], str(error)
        for path in seen:
            draw_path(picture, path)
        self._publisher.publish(rgb_to_image(picture, messages.nanoseconds(message.header.stamp), message.header.frame_id))
        self.drawn += 1
