"""The Franka HTTP server against good, wrong and hostile peers."""

import http.client
import json
import time

import numpy as np
import pytest
from fake_engine import FakeEngine, facts_of
from running_server import TOKEN, connected, deaf, eventually, everything, options, running, shout

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import quat_from_rpy
from lawam_ros.data.action_space import state_vector
from lawam_ros.serving.franka_server import franka_server
from lawam_ros.serving.served_policy import ServedPolicy

IMAGE = np.zeros((2, 3, 3), np.uint8).tolist()
POSE = {"position": [0.4, 0.1, 0.2], "rpy": [3.1, 0.1, -0.2], "gripper_width": 0.04}
REQUEST = {"instruction": "go", "image": IMAGE, **POSE}


@pytest.fixture
def engine():
    return FakeEngine(mask=[True] * 6 + [False])


@pytest.fixture
def port(engine):
    with running(franka_server(ServedPolicy(engine, "fake"), options(max_request_bytes=100_000))) as number:
        yield number


def asked(port, path, content=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = None if content is None else json.dumps(content)
    connection.request("GET" if content is None else "POST", path, body, headers or {})
    answer = connection.getresponse()
    result = answer.status, json.loads(answer.read())
    connection.close()
    return result


def raw(port, data):
    """Status and body of the answer to these bytes; None where there is no answer."""
    with connected(port) as peer:
        peer.sendall(data)
        head, _, body = everything(peer).partition(b"\r\n\r\n")
        return (int(head.split()[1]), json.loads(body)) if head else None


def test_health_and_metadata(port):
    assert asked(port, "/health") == (200, {"status": "ok"})
    status, metadata = asked(port, "/metadata")
    assert status == 200
    assert metadata["defaults"]["action_hz"] == 20.0 and metadata["defaults"]["embodiment_id"] == 25
    assert (metadata["unnorm_key"], metadata["model_uses_state"], metadata["state_stats_dim"]) == ("franka", True, 7)


def test_an_official_request_gets_the_official_answer(engine, port):
    status, answer = asked(port, "/act?x=1", REQUEST | {"num_inference_steps": 4, "record_intermediates": True, "run_id": "../x"})
    assert status == 200
    assert [answer[key] for key in ("status", "action_chunk_len", "action_dim", "num_inference_steps")] == ["ok", 4, 7, 4]
    assert np.shape(answer["normalized_actions"]) == (4, 32)
    # Nothing is snapped on this server: the unmasked gripper comes back as the model said it.
    np.testing.assert_allclose(answer["actions"], np.array(answer["normalized_actions"])[:, :7], atol=1e-6)
    np.testing.assert_allclose(engine.asked[0].state, [0.4, 0.1, 0.2, 3.1, 0.1, -0.2, 0.04])
    assert (engine.asked[0].instruction, engine.asked[0].action_hz, engine.asked[0].steps) == ("go", 20.0, 4)


def test_the_servers_instruction_goes_first():
    engine = FakeEngine()
    with running(franka_server(ServedPolicy(engine, "fake"), options(instruction="wait"))) as port:
        assert asked(port, "/act", REQUEST)[0] == 200
    assert engine.asked[0].instruction == "wait"


def test_prepare_reads_without_inference(engine, port):
    status, answer = asked(port, "/prepare", REQUEST | {"images": None})
    assert status == 200 and not engine.asked
    assert answer["primary_image_shapes"] == [[2, 3, 3]] and answer["wrist_image_shapes"] == []
    np.testing.assert_allclose(answer["normalized_state"], np.clip(np.array(answer["state"]) / 2, -1, 1), atol=1e-6)


def test_a_pose_becomes_the_state_of_our_checkpoint():
    contract = load_contract("franka_pick_place")
    engine = FakeEngine(facts=facts_of(contract), state_size=10)
    with running(franka_server(ServedPolicy(engine, "fake"), options())) as port:
        assert asked(port, "/act", REQUEST)[0] == 200
    pose = Pose(np.array(POSE["position"]), quat_from_rpy(np.array(POSE["rpy"])))
    np.testing.assert_allclose(engine.asked[0].state, state_vector(pose, 0.04, contract.task.policy.state))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"image": IMAGE}, "expected an instruction in words"),
        ({"instruction": "go"}, "expected an image under"),
        ({"instruction": "go", "image": IMAGE, "state": [1, 2]}, "expected a state of 7 numbers"),
        ([1], "expected a JSON object"),
    ],
)
def test_a_wrong_request_gets_400_and_a_sentence(port, content, match):
    content = content if isinstance(content, list) else {**({} if "state" in content else POSE), **content}
    status, answer = asked(port, "/act", content)
    assert (status, answer["status"]) == (400, "error") and match in answer["message"]
    assert asked(port, "/act", REQUEST)[0] == 200


def test_a_checkpoint_that_reads_the_state_asks_for_it(port):
    status, answer = asked(port, "/act", {"instruction": "go", "image": IMAGE})
    assert status == 400 and "expected a state or a pose" in answer["message"]


def test_unknown_paths_and_uploads(port):
    assert asked(port, "/nowhere")[0] == 404
    assert asked(port, "/nowhere", {})[0] == 404
    status, answer = asked(port, "/upload_recording?run_id=x", {})
    assert status == 400 and "keeps no recordings" in answer["message"]


def test_a_failing_model_gets_a_sentence(engine, port):
    engine.fails_with = RuntimeError("CUDA out of memory at /secret/path")
    status, answer = asked(port, "/act", REQUEST)
    assert status == 400 and answer["message"].startswith("the model failed on this request (RuntimeError)")
    engine.fails_with = None
    assert asked(port, "/act", REQUEST)[0] == 200


HEAD = b"POST /act HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("data", "status", "match"),
    [
        (b"\x00\x01garbage\r\n\r\n", 400, "expected an HTTP request"),
        (b"GET /health HTTP/9.9\r\n\r\n", 505, "expected an HTTP request"),
        (HEAD + b"\r\n", 411, "Content-Length"),
        (HEAD + b"Content-Length: 1000000000\r\n\r\n", 413, "up to 100000 bytes, got Content-Length 1000000000"),
        (HEAD + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n", 413, "up to 100000 bytes"),
        (HEAD + b"Content-Length: -1\r\n\r\n", 411, "Content-Length"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411, "Content-Length"),
        (HEAD + b"Content-Length: 5\r\n\r\n{{{{{", 400, "expected a JSON object"),
        (HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431, "expected an HTTP request"),
        (b"".join([HEAD, *(b"X%d: y\r\n" % i for i in range(200)), b"\r\n"]), 431, "expected an HTTP request"),
        (b"PUT /act HTTP/1.1\r\n\r\n", 501, "expected an HTTP request"),
        (b"GET /health HTTP/1.1\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n", 403, "pages in a browser"),
    ],
)
def test_hostile_requests_get_a_sentence_and_the_server_lives(port, data, status, match):
    answer = raw(port, data)
    assert answer[0] == status and answer[1]["status"] == "error" and match in answer[1]["message"]
    assert asked(port, "/health")[0] == 200


def test_a_disconnect_in_the_middle_is_survived(engine, port):
    with connected(port) as peer:
        peer.sendall(HEAD + b"Content-Length: 5000\r\n\r\n{")
    with connected(port) as peer:
        peer.sendall(b"POST /a")
    assert asked(port, "/act", REQUEST)[0] == 200
    assert len(engine.asked) == 1


@pytest.mark.parametrize(("start", "status"), [(HEAD + b"Content-Length: 5000\r\n\r\n", 408), (HEAD + b"X-Slow: ", None)])
def test_a_byte_now_and_then_buys_no_more_time(start, status):
    with running(franka_server(ServedPolicy(FakeEngine(), "fake"), options(request_timeout_s=0.6))) as port, connected(port) as peer:
        peer.sendall(start)
        started = time.monotonic()
        ended = b""
        peer.settimeout(0.1)
        while not ended and time.monotonic() - started < 30.0:
            try:
                peer.sendall(b" ")
                ended = peer.recv(100) or b"closed"
            except TimeoutError:
                continue
            except OSError:
                ended = b"closed"
        assert ended, "still open"
        assert status is None or ended.startswith(b"HTTP/1.1 408 ")
        assert asked(port, "/health")[0] == 200


def test_a_peer_that_reads_no_answer_does_not_keep_its_place():
    server = franka_server(ServedPolicy(FakeEngine(), "fake"), options(connections=1, request_timeout_s=0.3))
    with deaf(server) as (port, peer):
        shout(peer, 100 * b"GET /metadata HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: asked(port, "/health"))


def test_only_so_many_are_served_at_once():
    with running(franka_server(ServedPolicy(FakeEngine(), "fake"), options(connections=2))) as port:
        with connected(port) as one, connected(port) as two:
            for peer in (one, two):
                peer.sendall(b"GET /health HTTP/1.1\r\n\r\n")
                assert peer.recv(15) == b"HTTP/1.1 200 OK"
            with connected(port) as three:
                assert everything(three) == b""
        deadline = time.monotonic() + 10.0
        while raw(port, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n") is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert asked(port, "/health")[0] == 200


def test_the_token_is_asked_of_every_request():
    with running(franka_server(ServedPolicy(FakeEngine(), "fake"), options(token=TOKEN))) as port:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            status, answer = asked(port, "/act", REQUEST, headers)
            assert status == 401 and "Authorization: Api-Key <token>" in answer["message"]
            assert asked(port, "/health", headers=headers)[0] == 401
        assert asked(port, "/act", REQUEST, {"Authorization": f"Bearer {TOKEN}"})[0] == 200
        assert asked(port, "/act", REQUEST, {"Authorization": f"Api-Key {TOKEN}"})[0] == 200
