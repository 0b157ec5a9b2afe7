import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract, load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import JointCommand
from lawam_ros.control.kinematics import Chain
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

from lawam_ros.sim.cameras import CameraRig, focal_length_px  # noqa: E402  (the renderer is chosen before mujoco is imported)
from lawam_ros.sim.world import World  # noqa: E402
from lawam_ros.sim.world_parameters import on_table  # noqa: E402


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contract("franka_pick_place")


@pytest.fixture(scope="module")
def world(contract: Contract) -> World:
    return World(contract)


def command(world: World, joints: np.ndarray, gripper_m: float, velocity: np.ndarray | None = None) -> JointCommand:
    zero = np.zeros(7)
    return JointCommand(0, joints, zero if velocity is None else velocity, zero, {"arm": gripper_m})


def test_tcp_equals_forward_kinematics_of_the_urdf(contract: Contract, world: World) -> None:
    arm = contract.robot.arms[0]
    chain = Chain.from_urdf((urdf_dir() / contract.robot.urdf).read_text(), arm.base_frame, arm.tcp_frame)
    random = np.random.default_rng(0)
    for _ in range(5):
        joints = random.uniform(arm.limits.lower_rad, arm.limits.upper_rad)
        world.place_arms(joints, {"arm": 0.03})
        pose, tcp = chain.pose(joints), world.state().hand.tcp
        np.testing.assert_allclose(tcp.position_m, pose.position_m, atol=1e-6)
        assert abs(np.dot(tcp.quat_xyzw, pose.quat_xyzw)) == pytest.approx(1.0, abs=1e-9)
    assert world.openings_m()["arm"] == pytest.approx(0.03)


def test_same_seed_same_world_and_other_seed_another(world: World) -> None:
    snapshots = []
    for seed in (3, 4, 3):
        world.reset(seed)
        world.step(0.1)
        snapshots.append(world.snapshot())
    np.testing.assert_array_equal(snapshots[0].qpos, snapshots[2].qpos)
    np.testing.assert_array_equal(snapshots[0].mocap_position_m, snapshots[2].mocap_position_m)
    assert np.abs(snapshots[0].qpos - snapshots[1].qpos).max() > 1e-3


def test_layouts_keep_area_and_distance(world: World) -> None:
    parameters = on_table(world.parameters.cube)
    for seed in range(50):
        world.reset(seed)
        state = world.state()
        assert state.cube is not None and state.drawer is None
        cube, pad = state.cube.pose.position_m[:2], state.cube.pad_position_m[:2]
        for point in (cube, pad):
            assert np.all(point >= parameters.area_lower_m) and np.all(point <= parameters.area_upper_m)
        assert np.linalg.norm(cube - pad) >= parameters.min_distance_m
        assert state.cube.fingers_touching == 0


def test_the_arm_stands_still_on_its_servos(world: World) -> None:
    world.reset(1)
    start = world.arm_positions_rad()
    world.step(1.0)
    assert world.time_s == pytest.approx(1.0)
    np.testing.assert_allclose(world.arm_positions_rad(), start, atol=1e-3)
    assert world.openings_m()["arm"] == pytest.approx(0.08, abs=1e-3)
    cube = world.state().cube
    assert cube is not None and cube.pose.position_m[2] == pytest.approx(0.02, abs=1e-3)


def test_moving_joints_are_followed_closely(world: World) -> None:
    """A joint at constant speed lags less than 5 mrad: the servo's damping acts on the velocity error only."""
    world.reset(0)
    start, speed, worst = world.arm_positions_rad(), np.array([0.3, 0, 0, 0, 0, 0.3, 0]), 0.0
    for tick in range(1, 251):
        target = start + speed * (0.004 * tick)
        world.apply(command(world, target, 0.08, speed))
        world.step(0.004)
        if tick > 50:
            worst = max(worst, float(np.abs(world.arm_positions_rad() - target).max()))
    assert worst < 5e-3


def test_an_arm_whose_commands_stop_comes_to_rest_at_the_last_one(world: World) -> None:
    world.reset(0)
    start, speed = world.arm_positions_rad(), np.array([0.4, 0, 0, 0, 0, 0, 0])
    for tick in range(1, 101):
        world.apply(command(world, start + speed * (0.004 * tick), 0.08, speed))
        world.step(0.004)
    world.step(1.0)
    np.testing.assert_allclose(world.arm_positions_rad(), start + speed * 0.4, atol=2e-3)
    assert max(map(abs, world.joint_velocities().values())) < 1e-3


def test_the_gripper_closes_and_both_fingers_agree(world: World) -> None:
    world.reset(0)
    for _ in range(250):
        world.apply(command(world, world.arm_positions_rad(), 0.02))
        world.step(0.004)
    positions = world.joint_positions()
    assert positions["panda_finger_joint1"] == pytest.approx(0.01, abs=1e-3)
    assert positions["panda_finger_joint2"] == pytest.approx(0.01, abs=1e-3)


def test_cameras_see_cube_and_pad(contract: Contract, world: World) -> None:
    world.reset(0)
    rig = CameraRig(world.model, contract.robot.cameras)
    pictures = rig.pictures(world.snapshot())
    rig.close()
    for name in ("front", "wrist"):
        picture = pictures[name].astype(int)
        assert picture.shape == (240, 320, 3)
        red, green, blue = np.moveaxis(picture, -1, 0)
        assert np.count_nonzero((red > 120) & (green < 60) & (blue < 60)) > 100, name
        assert np.count_nonzero((blue > 120) & (red < 80) & (green < 90)) > 300, name


def test_impossible_worlds_are_refused() -> None:
    with pytest.raises(UserMistake, match="min_distance_m"):
        World(load_contract("franka_pick_place", overrides=["world.min_distance_m=0.9"]))
    refused = {
        "cube_size_m": "world.cube_size_m=0.5",
        "no layout": "world.area_upper_m=[0.40, -0.08]",
        "the cube among them": "world.objects=[cabinet]",
        "names of cube, cabinet, towel, got teapot": "world.objects=[cube, teapot]",
        "names of colour, light, camera": "world.perturb=[gravity]",
        "one of pick_place, drawer": "world.name=kitchen",
    }
    for sentence, override in refused.items():
        with pytest.raises(UserMistake, match=sentence):
            World(load_contract("franka_pick_place", overrides=[override]))


def test_the_focal_length_is_that_of_the_episodes_camera():
    """Its angle of view varies with the seed; the pictures are drawn with it, and their CameraInfo must say so."""
    world = World(load_contract("franka_pick_place", overrides=["world.perturb=[camera]"]))
    camera = world.contract.robot.camera("front")
    index, seen = world.model.camera("front").id, set()
    for seed in range(3):
        world.reset(seed)
        look = world.snapshot().look
        focal_px = focal_length_px(world.model, look, camera)
        assert np.degrees(2.0 * np.arctan2(0.5 * camera.mounted_hw[0], focal_px)) == pytest.approx(look["cam_fovy"][index])
        seen.add(focal_px)
    assert len(seen) == 3
