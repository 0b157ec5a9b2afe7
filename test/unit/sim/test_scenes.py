from pathlib import Path

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import config_dir
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

import mujoco  # noqa: E402

from lawam_ros.sim.cabinet import TRAVEL_M, Cabinet  # noqa: E402
from lawam_ros.sim.cameras import CameraRig  # noqa: E402
from lawam_ros.sim.layout import Ground  # noqa: E402
from lawam_ros.sim.panda_mjcf import FINGER_PADS  # noqa: E402
from lawam_ros.sim.scenes import scene_of  # noqa: E402
from lawam_ros.sim.success import REST_SPEED_M_S  # noqa: E402
from lawam_ros.sim.world import World  # noqa: E402
from lawam_ros.sim.world_parameters import on_table  # noqa: E402

TASKS = sorted(path.stem for path in (config_dir() / "tasks").glob("*.yaml"))
BOTH = "world.objects=[cube,cabinet]"


@pytest.fixture(scope="module")
def both() -> World:
    return World(load_contract("franka_drawer", overrides=[BOTH]))


@pytest.fixture(scope="module")
def varied() -> World:
    return World(load_contract("franka_pick_place", overrides=[BOTH, "world.perturb=[colour,light,camera,distractors,start,size]"]))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_file_has_a_world_that_is_not_solved_at_the_start(task: str) -> None:
    contract = load_contract(task)
    world = World(contract)
    measure = scene_of(contract).measure(world.parameters)
    for seed in range(5):
        world.reset(seed)
        world.step(0.05)
        measure.update(world.state())
    result = measure.result()
    assert not result.success and not any(result.stages.values()) and np.isfinite(result.final_error_m)


def test_both_tasks_see_one_scene_of_cube_and_cabinet(both: World) -> None:
    other = World(load_contract("franka_pick_place", overrides=[BOTH]))
    for seed in (0, 5):
        both.reset(seed)
        other.reset(seed)
        mine, theirs = both.snapshot(), other.snapshot()
        np.testing.assert_array_equal(mine.qpos, theirs.qpos)
        np.testing.assert_array_equal(mine.mocap_position_m, theirs.mocap_position_m)


def test_cube_and_pad_stay_clear_of_the_drawers_way(both: World) -> None:
    for seed in range(30):
        both.reset(seed)
        state = both.state()
        assert state.cube is not None and state.drawer is not None
        swept = Ground(
            (state.drawer.handle_m + 0.5 * TRAVEL_M * state.drawer.outward)[:2],
            np.array([0.5 * TRAVEL_M, 0.15]),
            float(np.arctan2(state.drawer.outward[1], state.drawer.outward[0])),
        )
        assert swept.distance_m(state.cube.pose.position_m[:2]) > 0.03
        assert swept.distance_m(state.cube.pad_position_m[:2]) > 0.05


def test_a_pushed_drawer_slides_and_comes_to_rest(both: World) -> None:
    data, cabinet = mujoco.MjData(both.model), Cabinet(both.model, on_table(both.parameters.cabinet), FINGER_PADS)
    cabinet.place(np.random.default_rng(4), data, [])
    mujoco.mj_forward(both.model, data)
    start = cabinet.state(data)
    data.qvel[both.model.joint("drawer").dofadr[0]] = 0.5
    mujoco.mj_step(both.model, data, 5)
    assert cabinet.state(data).speed_m_s > REST_SPEED_M_S
    mujoco.mj_step(both.model, data, 1000)
    mujoco.mj_kinematics(both.model, data)
    rest = cabinet.state(data)
    assert 0.005 < rest.opened_m <= TRAVEL_M and rest.speed_m_s < REST_SPEED_M_S
    np.testing.assert_allclose(rest.handle_m - start.handle_m, rest.opened_m * start.outward, atol=1e-6)
    assert abs(start.along @ start.outward) < 1e-9


def test_the_front_camera_sees_the_whole_handle(both: World) -> None:
    rig = CameraRig(both.model, both.contract.robot.cameras)
    for seed in range(6):
        both.reset(seed)
        picture = rig.pictures(both.snapshot())["front"].astype(int)
        red, green, blue = np.moveaxis(picture, -1, 0)
        yellow = (red > 150) & (green > 110) & (blue < 80)
        assert np.count_nonzero(yellow) > 60, seed
        assert not yellow[:, -2:].any() and not yellow[-2:].any(), "cut off at the border"
    rig.close()


def test_looks_follow_the_seed_and_reach_the_pictures(varied: World) -> None:
    rig = CameraRig(varied.model, varied.contract.robot.cameras)
    pictures = {}
    for seed in (3, 4):
        varied.reset(seed)
        pictures[seed] = rig.pictures(varied.snapshot())
    snapshot = varied.snapshot()
    varied.reset(3)
    np.testing.assert_array_equal(rig.pictures(varied.snapshot())["front"], pictures[3]["front"])
    np.testing.assert_array_equal(rig.pictures(snapshot)["front"], pictures[4]["front"])
    assert np.abs(pictures[3]["front"].astype(int) - pictures[4]["front"]).mean() > 5.0
    rig.close()


def test_variation_leaves_the_layout_of_a_seed_as_it_was(both: World, varied: World) -> None:
    colour = World(load_contract("franka_pick_place", overrides=[BOTH, "world.perturb=[colour,light,camera]"]))
    for seed in (1, 2):
        both.reset(seed)
        colour.reset(seed)
        np.testing.assert_array_equal(both.snapshot().qpos, colour.snapshot().qpos)


def test_sizes_vary_and_the_physics_agrees(varied: World) -> None:
    sizes = []
    for seed in range(12):
        varied.reset(seed)
        varied.step(0.3)
        cube = varied.state().cube
        assert cube is not None
        sizes.append(cube.size_m)
        assert cube.pose.position_m[2] == pytest.approx(cube.size_m / 2, abs=1e-3), "it rests on the table"
    assert min(sizes) < 0.035 and max(sizes) > 0.045 and all(0.03 <= size <= 0.05 for size in sizes)


def test_distractors_stand_apart_from_everything(varied: World) -> None:
    for seed in range(10):
        varied.reset(seed)
        state, snapshot = varied.state(), varied.snapshot()
        assert state.cube is not None
        places = [snapshot.mocap_position_m[int(varied.model.body(f"distractor_{i}").mocapid[0])] for i in range(3)]
        for i, place in enumerate(places):
            assert place[2] == 0.0
            others = [state.cube.pose.position_m, state.cube.pad_position_m, *places[:i]]
            assert all(np.linalg.norm(place[:2] - other[:2]) > 0.08 for other in others)


def test_every_task_has_its_launch_file() -> None:
    launch = Path(__file__).parents[3] / "launch"
    for task in TASKS:
        assert f'launch_description("{task}")' in (launch / f"{task}.launch.py").read_text(encoding="utf-8")
