"""An official checkpoint behind the official protocols: what arrives is what the engine says."""

import http.client
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from running_server import options, running
from websockets.sync.client import connect

from lawam_ros.model.engine import Engine
from lawam_ros.policies.wire.array_maps import packed, unpacked
from lawam_ros.serving.franka_server import franka_server
from lawam_ros.serving.served_policy import ServedPolicy
from lawam_ros.serving.websocket_server import websocket_server

RUN = Path(__file__).parents[2] / "data" / "golden_small" / "runs" / "nostate"
IMAGE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
WORDS = "pick up the red block"


@pytest.fixture(scope="module")
def engine():
    torch.set_num_threads(1)
    return Engine.load(RUN)


@pytest.fixture(scope="module")
def expected(engine):
    torch.manual_seed(11)
    return engine.infer([IMAGE], [], WORDS, None, 3, 20.0)


def test_over_websocket(engine, expected):
    example = {"lang": WORDS, "primary_image": [IMAGE], "action_hz": 20.0, "embodiment_id": 3}
    server = running(websocket_server(ServedPolicy(engine, "nostate"), options()))
    with server as port, connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, proxy=None) as connection:
        metadata = unpacked(connection.recv(timeout=30))
        torch.manual_seed(11)
        connection.send(packed({"examples": [example], "return_intermediates": True}))
        data = unpacked(connection.recv(timeout=60))["data"]
    assert Path(metadata["ckpt_path"]) == engine.checkpoint.path
    assert np.array_equal(data["normalized_actions"][0], expected.normalised_actions)
    assert np.array_equal(data["h_t"][0], expected.h_t) and np.array_equal(data["h_t1_pred"][0], expected.h_t1)


def test_over_http(engine, expected):
    body = json.dumps({"instruction": WORDS, "image": IMAGE.tolist()})
    with running(franka_server(ServedPolicy(engine, "nostate"), options(embodiment_id=3))) as port:
        torch.manual_seed(11)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/act", body)
        answer = json.loads(connection.getresponse().read())
        connection.close()
    np.testing.assert_allclose(answer["normalized_actions"], expected.normalised_actions, atol=1e-7)
    free = engine.statistics.action.mask  # the gripper is snapped by other clients, not by this server
    np.testing.assert_allclose(np.array(answer["actions"])[:, free], expected.actions[:, free], atol=1e-6)
