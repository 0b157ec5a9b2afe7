"""The shipped LaWAM on a table with the things of both tasks: what it is told decides what it does."""

from dataclasses import replace

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

from lawam_ros.cli.direct_episodes import JOINT_STATES_HZ, PolicyInTheLoop  # noqa: E402
from lawam_ros.policies.choose import choose_policy  # noqa: E402
from lawam_ros.sim.stepped_loop import SteppedLoop  # noqa: E402
from lawam_ros.sim.stepped_streams import EPISODE_NS, SteppedStreams  # noqa: E402
from lawam_ros.sim.world import World  # noqa: E402

SEEDS = (10_000, 10_001, 10_002)
WATCHED_S = 5.0
TASKS = ("franka_pick_place", "franka_drawer")


@pytest.fixture(scope="module")
def contract():
    return load_contract("franka_pick_place", overrides=["world.objects=[cube,cabinet]"])


@pytest.fixture(scope="module")
def world(contract):
    return World(contract)


def nearest_m(contract, world, instruction, seed):
    """How near the hand comes to the cube and to the handle within WATCHED_S."""
    told = replace(contract, task=replace(contract.task, instruction=instruction))
    policy = choose_policy(contract.task.checkpoint, told, "cpu")
    driver = PolicyInTheLoop(told, policy, world.model, latency_s=0.1, run_seed=0)
    world.reset(seed)
    streams = SteppedStreams(contract.robot, JOINT_STATES_HZ, lambda topic: topic)
    streams.begin(seed * EPISODE_NS)
    loop = SteppedLoop(told, world, streams.now_ns)
    driver.begin(loop, streams)
    nearest = np.full(2, np.inf)
    while loop.now_ns < seed * EPISODE_NS + WATCHED_S * 1e9:
        driver.period()
        state = world.state()
        hand = state.hand.tcp.position_m
        nearest = np.minimum(nearest, [np.linalg.norm(hand - state.cube.pose.position_m), state.drawer.distance_m(hand)])
    driver.close()
    return nearest


@pytest.mark.parametrize("seed", SEEDS)
def test_one_table_two_instructions_two_behaviours(contract, world, seed):
    cube_told, drawer_told = (load_contract(task).task.instruction for task in TASKS)
    to_cube, away_from_handle = nearest_m(contract, world, cube_told, seed)
    away_from_cube, to_handle = nearest_m(contract, world, drawer_told, seed)
    # Going for a thing brings the hand to less than half of what it keeps from it otherwise.
    assert to_cube < 0.5 * away_from_cube
    assert to_handle < 0.5 * away_from_handle
