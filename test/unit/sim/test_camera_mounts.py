"""The simulated cameras sit where the robot file says, so that a path drawn by the file lies on the picture."""

import numpy as np

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.link_frames import LinkFrames, transform_of
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

import mujoco  # noqa: E402  (the renderer is chosen before mujoco is imported)

from lawam_ros.sim.world import World  # noqa: E402

OPTICAL_FROM_MUJOCO = np.diag([1.0, -1.0, -1.0])  # MuJoCo's cameras have y up and look along -z


def test_mounts_of_the_robot_file_are_those_of_the_world() -> None:
    contract = load_contract("franka_pick_place")
    robot, world = contract.robot, World(contract)
    joints = robot.arms[0].home_rad + 0.2
    world.place_arm(joints, 0.04)
    data = mujoco.MjData(world.model)
    data.qpos[:] = world.snapshot().qpos
    mujoco.mj_kinematics(world.model, data)
    mujoco.mj_camlight(world.model, data)
    measured = dict(zip(robot.joint_names, joints, strict=True)) | dict.fromkeys(robot.arms[0].gripper.joints, 0.02)
    poses = LinkFrames((urdf_dir() / robot.urdf).read_text()).poses(measured)
    for camera in robot.cameras:
        assert camera.mount is not None
        pose = poses[camera.mount.link] @ transform_of(camera.mount.optical)
        index = world.model.camera(camera.name).id
        np.testing.assert_allclose(pose[:3, 3], data.cam_xpos[index], atol=1e-6)
        np.testing.assert_allclose(pose[:3, :3], data.cam_xmat[index].reshape(3, 3) @ OPTICAL_FROM_MUJOCO, atol=1e-6)
