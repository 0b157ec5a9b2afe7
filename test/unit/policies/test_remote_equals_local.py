"""The shipped checkpoint asked over the wire says what it says here."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from running_server import options, running

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import quat_from_rpy
from lawam_ros.model.engine import Engine
from lawam_ros.policies.choose import choose_policy, find_checkpoint
from lawam_ros.policies.lawam import LawamPolicy
from lawam_ros.policies.made_up import made_up_observation
from lawam_ros.serving.franka_server import franka_server
from lawam_ros.serving.served_policy import ServedPolicy
from lawam_ros.serving.websocket_server import websocket_server

CONTRACT = load_contract("franka_pick_place")
QUAT = quat_from_rpy(np.array([np.pi, 0.05, -0.1]))
REFERENCE = {"arm": np.array([0.5, 0.1, 0.3, *QUAT, 0.08])}


@pytest.fixture(scope="module")
def engine():
    torch.set_num_threads(1)
    return Engine.load(find_checkpoint(CONTRACT.task.checkpoint))


@pytest.mark.parametrize(("server", "scheme"), [(websocket_server, "ws"), (franka_server, "http")])
def test_chunks_are_the_same(engine, server, scheme):
    rng = np.random.default_rng(0)
    seen = made_up_observation(CONTRACT)
    seen = replace(
        seen,
        images={name: rng.integers(0, 255, image.shape, np.uint8) for name, image in seen.images.items()},
        tcp={"arm": Pose(np.array([0.49, 0.1, 0.31]), QUAT)},
        gripper_m={"arm": 0.07},
    )
    local = LawamPolicy(engine, CONTRACT)
    here = local.look(seen, seed=11)
    with running(server(ServedPolicy(engine, "tiny"), options())) as port:
        remote = choose_policy(f"{scheme}://127.0.0.1:{port}?timeout_s=60", CONTRACT, "cpu")
        remote.warm_up()
        torch.manual_seed(11)  # a server draws its noise afresh: here from this generator
        there = remote.look(seen, seed=0)
    np.testing.assert_allclose(there.actions, here.actions, atol=1e-5)
    np.testing.assert_allclose(remote.place(there, REFERENCE).values, local.place(here, REFERENCE).values, atol=1e-5)
    assert np.array_equal(remote.place(there, REFERENCE).time_from_start_s, local.place(here, REFERENCE).time_from_start_s)
    if there.subgoal is not None:
        np.testing.assert_allclose(there.subgoal.predicted, here.subgoal.predicted, atol=1e-5)
