"""The simulated cameras sit where the robot file says, so that a path drawn by the file lies on the picture."""

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.link_frames import LinkFrames, transform_of
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

import mujoco  # noqa: E402  (the renderer is chosen before mujoco is imported)

from lawam_ros.sim.world import World  # noqa: E402

OPTICAL_FROM_MUJOCO = np.diag([1.0, -1.0, -1.0])  # MuJoCo's cameras have y up and look along -z


@pytest.mark.parametrize("task", ["franka_pick_place", "x1_towel_fold"])
def test_mounts_of_the_robot_file_are_those_of_the_world(task: str) -> None:
    contract = load_contract(task)
    robot, world = contract.robot, World(contract)
    joints = np.concatenate([arm.home_rad for arm in robot.arms]) + 0.2
    world.place_arms(joints, {arm.name: 0.04 for arm in robot.arms})
    data = mujoco.MjData(world.model)
    data.qpos[:] = world.snapshot().qpos
    mujoco.mj_kinematics(world.model, data)
    mujoco.mj_camlight(world.model, data)
    poses = LinkFrames((urdf_dir() / robot.urdf).read_text()).poses(world.joint_positions())
    from_base = np.linalg.inv(poses[robot.base_frame])
    for camera in robot.cameras:
        assert camera.mount is not None
        pose = from_base @ poses[camera.mount.link] @ transform_of(camera.mount.optical)
        index = world.model.camera(camera.name).id
        np.testing.assert_allclose(pose[:3, 3], data.cam_xpos[index], atol=1e-6)
        np.testing.assert_allclose(pose[:3, :3], data.cam_xmat[index].reshape(3, 3) @ OPTICAL_FROM_MUJOCO, atol=1e-6)
