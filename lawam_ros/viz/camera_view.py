"""Where one camera sees the paths of a chunk: its calibration, its place on the robot, and the robot's joints at the exposure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import Camera, Robot
from lawam_ros.control.hand_paths import HandPath, in_frame
from lawam_ros.control.link_frames import LinkFrames, transform_of
from lawam_ros.viz.chunk_path import ChunkPath
from lawam_ros.viz.pinhole import Pinhole

Array = NDArray[np.float64]
Place = tuple[str, Array]
"""A link of the robot and the camera's optical frame in it, T_link_camera (4, 4)."""

KEPT_S = 1.0
"""How long a chunk that is over stays in the picture."""


class CameraView:
    """Projects into pictures as the contract has them, turned and all."""

    def __init__(self, robot: Robot, camera: Camera, links: LinkFrames) -> None:
        self._robot, self._camera, self._links = robot, camera, links
        self._info: Any = None

    def calibrate(self, info: Any) -> None:
        """The newest sensor_msgs/CameraInfo; it is judged when a path is to be drawn."""
        self._info = info

    def paths_seen(
        self, paths: Sequence[HandPath], joints: Mapping[str, float] | None, exposed_ns: int, place: Place | None = None
    ) -> list[ChunkPath]:
        """Paths in pixels of the picture exposed then. joints: measured at the exposure. place: where TF has the camera, if it does; else
        the robot file says. Raises ValueError or KeyError where calibration, place or joints are missing."""
        fresh = [(path, path.ahead_s(exposed_ns)) for path in paths]
        fresh = [(path, ahead_s) for path, ahead_s in fresh if ahead_s[-1] > -KEPT_S]
        if not fresh:
            return []
        if joints is None:
            raise ValueError("expected joint states to know where the camera is, got none yet")
        pinhole, (link, T_link_camera) = self._pinhole(), place or self._mount()
        poses = self._links.poses({**self._robot.standing_joints, **joints})
        T_camera_root = np.linalg.inv(poses[link] @ T_link_camera)
        seen = []
        for path, ahead_s in fresh:
            T_camera_base = T_camera_root @ poses[self._robot.arm(path.arm).base_frame]
            seen.append(ChunkPath(pinhole.pixels(in_frame(path.points_m, T_camera_base)), ahead_s, path.opening_m))
        return seen

    def _pinhole(self) -> Pinhole:
        camera = self._camera
        if self._info is None:
            raise ValueError(f"expected a calibration on {camera.info_topic}, got none yet")
        pinhole = Pinhole.from_info(self._info, camera.is_rectified, camera.rotate_deg)
        height, width = camera.mounted_hw
        if (pinhole.width, pinhole.height) != (width, height):
            raise ValueError(f"expected a calibration for {width}x{height} pixels, got {pinhole.width}x{pinhole.height}")
        return pinhole

    def _mount(self) -> Place:
        mount = self._camera.mount
        if mount is None or mount.link not in self._links.links:
            raise ValueError(
                f"expected to know where the camera is, from TF or from cameras.{self._camera.name}.mount of the robot file on a link of "
                f"{self._robot.urdf}"
            )
        return mount.link, transform_of(mount.optical)
