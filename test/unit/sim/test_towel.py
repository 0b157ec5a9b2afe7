"""The towel in its world: where it lies, what holds it, what counts as folded."""

import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.robot import Robot
from lawam_ros.control.kinematics import Chain
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

import mujoco  # noqa: E402  (the renderer is chosen before mujoco is imported)

from lawam_ros.control.base_frames import BaseFrames  # noqa: E402
from lawam_ros.sim.cameras import CameraRig  # noqa: E402
from lawam_ros.sim.towel import CORNERS, GRID, PINCH_REACH_M, TowelState  # noqa: E402
from lawam_ros.sim.world import World  # noqa: E402

CONTRACT = load_contract("x1_towel_fold")
ROBOT: Robot = CONTRACT.robot
URDF = (urdf_dir() / ROBOT.urdf).read_text(encoding="utf-8")
FRAMES = BaseFrames(ROBOT, URDF)
OPEN = {arm.name: arm.gripper.opening_max_m for arm in ROBOT.arms}


@pytest.fixture(scope="module")
def world() -> World:
    return World(CONTRACT)


def towel_of(world: World) -> TowelState:
    towel = world.state().towel
    assert towel is not None
    return towel


def command(joints: np.ndarray, openings_m: dict[str, float]) -> JointCommand:
    return JointCommand(0, joints, np.zeros(12), np.zeros(12), openings_m)


def test_the_world_is_the_robots_description(world: World) -> None:
    """TCPs of the drawn robot are those of the URDF, in the robot's base frame."""
    random = np.random.default_rng(0)
    for _ in range(3):
        joints = np.concatenate([random.uniform(arm.limits.lower_rad, arm.limits.upper_rad) for arm in ROBOT.arms])
        world.place_arms(joints, {"left": 0.02, "right": 0.05})
        for arm in ROBOT.arms:
            pose = Chain.from_urdf(URDF, arm.base_frame, arm.tcp_frame).pose(joints[ROBOT.joint_slice(arm.name)])
            tcp = world.state().hands[arm.name].tcp
            np.testing.assert_allclose(tcp.position_m, FRAMES.to_base(arm.name, pose).position_m, atol=1e-6)
            assert abs(np.dot(tcp.quat_xyzw, pose.quat_xyzw)) == pytest.approx(1.0, abs=1e-9)
    assert world.openings_m() == pytest.approx({"left": 0.02, "right": 0.05})


def test_arms_stand_still_and_grippers_close_by_their_motors(world: World) -> None:
    world.reset(1)
    start = world.arm_positions_rad()
    for _ in range(100):
        world.apply(command(start, {"left": 0.0, "right": 0.04}))
        world.step(0.01)
    np.testing.assert_allclose(world.arm_positions_rad(), start, atol=2e-3)
    assert world.openings_m() == pytest.approx({"left": 0.0, "right": 0.04}, abs=1e-3)
    positions = world.joint_positions()
    assert positions["right_arm_gripper"] == pytest.approx(0.04 / ROBOT.arms[1].gripper.opening_per_joint, abs=0.06)
    assert positions["lift_joint"] == ROBOT.standing_joints["lift_joint"]


def test_the_towel_lies_flat_where_its_seed_says(world: World) -> None:
    seen = []
    for seed in (3, 4, 3):
        world.reset(seed)
        world.step(0.3)
        towel = towel_of(world)
        seen.append(towel.vertices_m)
        assert towel.height_m < 0.01 and towel.area_ratio == pytest.approx(1.0, abs=0.02)
        assert towel.corner_errors_m == pytest.approx((0.30, 0.30), abs=1e-3)
        assert towel.held == {"left": None, "right": None}
        far, near = towel.vertices_m[[CORNERS.far_left, CORNERS.far_right]], towel.vertices_m[[CORNERS.near_left, CORNERS.near_right]]
        assert far[:, 0].min() > near[:, 0].max(), "the far edge is away from the robot"
        assert far[0, 1] > far[1, 1] and near[0, 1] > near[1, 1], "left is where y is larger"
    np.testing.assert_array_equal(seen[0], seen[2])
    assert np.abs(seen[0] - seen[1]).max() > 5e-3


def test_size_and_colour_vary_with_the_seed_and_reach_the_pictures() -> None:
    varied = World(load_contract("x1_towel_fold", overrides=["world.perturb=[colour,size]"]))
    rig = CameraRig(varied.model, ROBOT.cameras)
    edges, pictures = [], []
    for seed in range(3):
        varied.reset(seed)
        varied.step(0.3)
        towel = towel_of(varied)
        edges.append(towel.edge_m)
        # Cloth of another size is at rest in that size: nothing shrinks back.
        assert towel.corner_errors_m == pytest.approx((towel.edge_m,) * 2, abs=2e-3) and towel.height_m < 0.01
        pictures.append(rig.pictures(varied.snapshot())["front"].astype(int))
    rig.close()
    assert max(edges) - min(edges) > 0.01 and all(0.25 < edge < 0.32 for edge in edges)
    assert min(np.abs(pictures[0] - pictures[1]).mean(), np.abs(pictures[1] - pictures[2]).mean()) > 3.0


def test_every_camera_sees_the_towel(world: World) -> None:
    world.reset(0)
    rig = CameraRig(world.model, ROBOT.cameras)
    pictures = rig.pictures(world.snapshot())
    rig.close()
    for name in ("front", "left_wrist", "right_wrist"):
        red, green, blue = np.moveaxis(pictures[name].astype(int), -1, 0)
        towel = (blue > red + 40) & (blue > green + 20)
        assert np.count_nonzero(towel) > 4000, name
        if name == "front":
            assert not towel[:, [0, -1]].any() and not towel[[0, -1]].any(), "the head sees all of it"


def joints_near(world: World, offsets_m: dict[str, np.ndarray]) -> np.ndarray:
    """Joints that put each TCP beside its far corner, found by damped least squares."""
    corners = {"left": CORNERS.far_left, "right": CORNERS.far_right}
    joints = []
    for arm in ROBOT.arms:
        goal = FRAMES.points_to_arm(arm.name, towel_of(world).vertices_m[corners[arm.name]] + offsets_m[arm.name])
        chain, q = Chain.from_urdf(URDF, arm.base_frame, arm.tcp_frame), arm.home_rad.copy()
        for _ in range(100):
            transform, jacobian = chain.transform_and_jacobian(q)
            linear = jacobian[:3]
            q = q + linear.T @ np.linalg.solve(linear @ linear.T + 1e-4 * np.eye(3), goal - transform[:3, 3])
        joints.append(q)
    return np.concatenate(joints)


def test_a_hand_holds_the_nearest_vertex_only_when_it_is_near_and_closed(world: World) -> None:
    world.reset(2)
    near, far = np.array([0.0, 0.0, 0.01]), np.array([0.0, 0.0, PINCH_REACH_M + 0.01])
    joints = joints_near(world, {"left": near, "right": far})
    world.place_arms(joints, OPEN)
    world.step(0.02)
    assert towel_of(world).held == {"left": None, "right": None}, "open hands hold nothing"
    world.apply(command(joints, {"left": 0.0, "right": 0.0}))
    world.step(0.01)
    assert towel_of(world).held == {"left": None, "right": None}, "fingers are still far apart"
    world.step(0.5)
    assert towel_of(world).held == {"left": CORNERS.far_left, "right": None}, "the right hand closed on nothing"
    lifted = joints_near(world, {"left": near + [-0.05, 0.0, 0.06], "right": far})
    for k in range(1, 101):
        world.apply(command(joints + k / 100 * (lifted - joints), {"left": 0.0, "right": 0.0}))
        world.step(0.01)
    assert towel_of(world).vertices_m[CORNERS.far_left, 2] > 0.03, "the corner goes with the hand"
    world.apply(command(lifted, OPEN))
    world.step(1.0)
    towel = towel_of(world)
    assert towel.held == {"left": None, "right": None} and towel.vertices_m[CORNERS.far_left, 2] < 0.01


def test_a_reset_lets_go(world: World) -> None:
    world.reset(2)
    near = np.array([0.0, 0.0, 0.01])
    joints = joints_near(world, {"left": near, "right": near})
    world.place_arms(joints, {"left": 0.0, "right": 0.0})
    world.step(0.02)
    assert all(vertex is not None for vertex in towel_of(world).held.values())
    world.reset(2)
    world.step(0.3)
    assert towel_of(world).held == {"left": None, "right": None} and towel_of(world).height_m < 0.01


def test_arms_collide_with_table_and_each_other_and_not_with_the_towel(world: World) -> None:
    model = world.model
    flex = int(model.flex_contype[0]), int(model.flex_conaffinity[0])

    def touches(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return bool(one[0] & other[1] or other[0] & one[1])

    def bits(name: str) -> tuple[int, int]:
        geom = model.geom(name)
        return int(geom.contype[0]), int(geom.conaffinity[0])

    left, right, table = bits("left_arm_link6_1"), bits("right_arm_link6_1"), bits("table")
    assert touches(left, right) and touches(left, table) and touches(right, table) and touches(flex, table)
    assert not touches(left, left) and not touches(left, flex) and not touches(right, flex)
    assert model.nflexvert == GRID * GRID and mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, "base_link") == -1


def test_impossible_worlds_are_named() -> None:
    refused = {
        "towel_size_m: expected a number": "world.towel_size_m=0.6",
        "whole physics steps of 0.005 s": "robot.tick_hz=150",
        "the towel among them": "world.objects=[]",
    }
    for sentence, override in refused.items():
        with pytest.raises(UserMistake, match=sentence):
            World(load_contract("x1_towel_fold", overrides=[override]))
    with pytest.raises(UserMistake, match="robot that can be simulated, franka_panda or quanta_x1, got franka_fr3"):
        World(load_contract("franka_pick_place", "franka_fr3", ["task.robots=[franka_fr3]"]))
