"""The process that draws: the same pictures as in this one, an end with either side, and ordinary priority."""

import os
import signal

import numpy as np
import pytest

from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.load import load_contract
from lawam_ros.nodes.camera_process import CameraProcess
from lawam_ros.nodes.priority import PHYSICS, raise_priority, take_ordinary_priority
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

from lawam_ros.sim.cameras import CameraRig  # noqa: E402
from lawam_ros.sim.world import World  # noqa: E402

CONTRACT = load_contract("franka_pick_place", overrides=["world.perturb=[colour, camera]"])


@pytest.fixture
def drawn():
    process = CameraProcess()
    try:
        yield process
    finally:
        process.close()
        assert process._process.poll() is not None


def test_pictures_are_those_of_a_rig_in_this_process_also_after_a_reset(drawn):
    world = World(CONTRACT)
    rig = CameraRig(world.model, CONTRACT.robot.cameras)
    drawn.show(world.model, CONTRACT.robot.cameras)
    seen = []
    for seed in (3, 4):
        world.reset(seed)
        theirs, ours = drawn.pictures(world.snapshot()), rig.pictures(world.snapshot())
        assert list(theirs) == [camera.name for camera in CONTRACT.robot.cameras]
        assert all(np.array_equal(theirs[name], ours[name]) for name in ours)
        seen.append(theirs["front"])
    assert not np.array_equal(*seen)
    rig.close()


def test_a_process_that_is_killed_is_named_with_its_exit_code(drawn):
    world = World(CONTRACT)
    drawn.show(world.model, CONTRACT.robot.cameras)
    drawn.pictures(world.snapshot())
    drawn._process.send_signal(signal.SIGKILL)
    drawn._process.wait(5.0)
    with pytest.raises(LawamError, match=r"it has ended \(exit code -9\)"):
        drawn.pictures(world.snapshot())


def test_signals_for_the_node_do_not_end_it_the_nodes_end_does(drawn):
    world = World(CONTRACT)
    drawn.show(world.model, CONTRACT.robot.cameras)
    drawn.pictures(world.snapshot())
    for number in (signal.SIGINT, signal.SIGTERM):
        drawn._process.send_signal(number)
    assert drawn.pictures(world.snapshot())
    drawn._connection.close()
    assert drawn._process.wait(5.0) == 0


def test_it_is_not_under_real_time_priority_where_its_node_is():
    if not raise_priority(PHYSICS):
        pytest.skip("this user may not use SCHED_FIFO, so nothing is inherited")
    try:
        process = CameraProcess()
        world = World(CONTRACT)
        process.show(world.model, CONTRACT.robot.cameras)
        process.pictures(world.snapshot())
        threads = [int(one) for one in os.listdir(f"/proc/{process._process.pid}/task")]
        assert len(threads) > 1 and os.SCHED_FIFO not in {os.sched_getscheduler(thread) for thread in threads}
        process.close()
    finally:
        take_ordinary_priority()
