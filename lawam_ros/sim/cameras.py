"""Pictures of a world. A rig has its own MuJoCo data and GL context and must be used by one thread only, the one that made it."""

import copy
from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import Camera
from lawam_ros.sim.variation import wear
from lawam_ros.sim.world_state import Snapshot


class CameraRig:
    """Draws snapshots of a world through the cameras of the robot file."""

    def __init__(self, model: mujoco.MjModel, cameras: tuple[Camera, ...]) -> None:
        self._model = copy.deepcopy(model)  # its looks change with the snapshots
        self._data = mujoco.MjData(self._model)
        self._look: Mapping[str, NDArray[np.float64]] | None = None
        self._cameras = {camera.name: camera for camera in cameras}
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}

    def show(self, snapshot: Snapshot) -> None:
        """Pose the scene; the following ``render`` calls draw it."""
        if snapshot.look is not self._look:
            self._look = snapshot.look
            wear(self._model, snapshot.look)
        self._data.qpos[:] = snapshot.qpos
        self._data.mocap_pos[:] = snapshot.mocap_position_m
        self._data.mocap_quat[:] = snapshot.mocap_quat_wxyz
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        mujoco.mj_flex(self._model, self._data)

    def render(self, camera: str) -> NDArray[np.uint8]:
        """RGB picture (height, width, 3) as the camera is mounted, not yet turned."""
        size = self._cameras[camera].mounted_hw
        if size not in self._renderers:
            self._renderers[size] = mujoco.Renderer(self._model, *size)
        renderer = self._renderers[size]
        renderer.update_scene(self._data, camera=camera)
        return np.array(renderer.render())

    def pictures(self, snapshot: Snapshot) -> dict[str, NDArray[np.uint8]]:
        """Every camera's picture of one instant, as mounted."""
        self.show(snapshot)
        return {name: self.render(name) for name in self._cameras}

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()


def focal_length_px(model: mujoco.MjModel, look: Mapping[str, NDArray[np.float64]], camera: Camera) -> float:
    """Focal length in pixels, the same in both directions; the optical axis meets the middle of the picture and nothing distorts.

    look: of the snapshot, since an episode may have a camera with another angle of view.
    """
    field_of_view_rad = np.radians(float(look["cam_fovy"][model.camera(camera.name).id]))
    return float(0.5 * camera.mounted_hw[0] / np.tan(0.5 * field_of_view_rad))
