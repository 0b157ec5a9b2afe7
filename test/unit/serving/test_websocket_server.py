"""The websocket server against good, wrong and hostile peers."""

import contextlib
import socket
import struct

import numpy as np
import pytest
from fake_engine import FakeEngine, facts_of
from running_server import TOKEN, connected, deaf, eventually, everything, options, running, shout
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from lawam_ros.contract.load import load_contract
from lawam_ros.policies.wire.array_maps import packed, unpacked
from lawam_ros.serving.served_policy import ServedPolicy
from lawam_ros.serving.websocket_server import websocket_server

IMAGE = np.zeros((4, 6, 3), np.uint8)
EXAMPLE = {"lang": "fold", "primary_image": [IMAGE], "action_hz": 20.0, "embodiment_id": 25}


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def port(engine):
    with running(websocket_server(ServedPolicy(engine, "fake"), options(max_request_bytes=100_000))) as number:
        yield number


@contextlib.contextmanager
def greeted(port, **arguments):
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, proxy=None, **arguments) as connection:
        yield connection, unpacked(connection.recv(timeout=10))


def ask(connection, message):
    connection.send(message if isinstance(message, bytes | str) else packed(message))
    return unpacked(connection.recv(timeout=10))


def assert_serves(port):
    with greeted(port) as (connection, _):
        assert ask(connection, {"examples": [EXAMPLE]})["ok"]


def test_the_greeting_is_official_metadata_and_what_actions_mean(engine, port):
    with greeted(port) as (_, metadata):
        pass
    assert list(metadata)[:5] == ["env", "server_type", "supported_eval_envs", "ckpt_path", "framework_name"]
    assert (metadata["server_type"], metadata["ckpt_path"]) == ("starvla_websocket", "/checkpoints/fake")
    assert metadata["lawam_ros"]["facts"] is None and metadata["lawam_ros"]["statistics"]["action"]["max"] == [1.0] * 7


def test_the_greeting_of_our_checkpoint_tells_its_contract():
    facts = facts_of(load_contract("franka_pick_place"))
    with running(websocket_server(ServedPolicy(FakeEngine(facts=facts), "fake"), options())) as port, greeted(port) as (_, metadata):
        pass
    assert metadata["lawam_ros"]["facts"]["action"] == list(facts.action)
    assert metadata["lawam_ros"]["components"][0] == {"name": "translation_chunk_relative x", "unit": "m", "assumed": False}


def test_an_official_request_gets_the_official_answer(engine, port):
    with greeted(port) as (connection, _):
        state = np.full((1, 32), 0.5, np.float32)
        example = EXAMPLE | {"wrist_image": [IMAGE], "state": state}
        request = {"examples": [example, example], "return_intermediates": True, "num_inference_steps": 4}
        answer = ask(connection, request | {"type": "infer", "request_id": "9"})
    assert list(answer) == ["status", "ok", "type", "request_id", "data"]
    assert (answer["type"], answer["request_id"]) == ("inference_result", "9")
    data = answer["data"]
    assert data["normalized_actions"].shape == (2, 4, 32) and data["normalized_actions"].dtype == np.float32
    assert data["h_t"].shape == (2, 6, 5) and list(data["vision_tokens_hw"]) == [2, 3]
    asked = engine.asked[0]
    assert (asked.instruction, asked.steps, asked.action_hz, asked.embodiment_id, len(asked.wrist)) == ("fold", 4, 20.0, 25, 1)
    np.testing.assert_allclose(asked.state, [1.0] * 7)  # 0.5 of -2..2, without the padding


def test_the_shortest_request_of_the_protocol_byte_for_byte(engine, port):
    image = b"\x84\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x03\x01\x02\x03\xc4\x05dtype\xa3|u1\xc4\x05shape\x93\x01\x01\x03"
    by_hand = b"\x81\xa8examples\x91\x84\xa4lang\xa4fold\xadprimary_image\x91" + image + b"\xa9action_hz\x14\xadembodiment_id\x19"
    with greeted(port) as (connection, _):
        connection.send(by_hand)
        raw = connection.recv(timeout=10)
    assert raw.startswith(
        b"\x85\xa6status\xa2ok\xa2ok\xc3\xa4type\xb0inference_result\xaarequest_id\xa7default\xa4data\x81\xb2normalized_actions\x84\xc4\x0b__ndarray__"
    )
    assert engine.asked[0].primary[0].tolist() == [[[1, 2, 3]]]


def test_a_ping_is_answered(port):
    with greeted(port) as (connection, _):
        assert ask(connection, {"type": "ping"}) == {"status": "ok", "ok": True, "type": "ping", "request_id": "default"}


@pytest.mark.parametrize(
    ("message", "match"),
    [
        (b"\xc1garbage", "expected one msgpack message"),
        (b"", "expected one msgpack message"),
        (b"\xdd\x3b\x9a\xca\x00", "expected one msgpack message"),
        (b"\x91" * 3000, "expected one msgpack message"),
        ("hello", "got a text"),
        ({"type": "shutdown"}, "expected type ping"),
        ({"examples": [EXAMPLE | {"lang": ""}]}, "non-empty text"),
        ({"examples": [EXAMPLE], "pickle": b"cos\nsystem"}, "unknown key 'pickle'"),
        ({"examples": [EXAMPLE | {"state": [1.0]}]}, "expected a state of at least 7 numbers"),
    ],
)
def test_a_wrong_message_gets_a_sentence_and_the_connection_goes_on(port, message, match):
    with greeted(port) as (connection, _):
        answer = ask(connection, message)
        assert (answer["status"], answer["ok"]) == ("error", False)
        assert match in answer["error"]["message"]
        assert ask(connection, {"examples": [EXAMPLE]})["ok"]


def test_a_failing_model_gets_a_sentence_without_a_traceback(engine, port):
    engine.fails_with = RuntimeError("CUDA out of memory at /secret/path")
    with greeted(port) as (connection, _):
        message = ask(connection, {"examples": [EXAMPLE]})["error"]["message"]
        assert message == "the model failed on this request (RuntimeError); the server's log says more"
        engine.fails_with = None
        assert ask(connection, {"examples": [EXAMPLE]})["ok"]


def test_a_message_too_large_ends_its_connection_only(port):
    with greeted(port) as (connection, _), pytest.raises(ConnectionClosed) as closed:
        connection.send(bytes(200_000))
        connection.recv(timeout=10)
    assert closed.value.rcvd.code == 1009
    assert_serves(port)


def test_a_length_of_ten_to_the_nine_ends_its_connection_only(port):
    with greeted(port) as (connection, _), pytest.raises(ConnectionClosed) as closed:
        connection.socket.sendall(b"\x82\xff" + struct.pack(">Q", 10**9) + bytes(4))  # binary, masked, 64-bit length
        connection.recv(timeout=10)
    assert closed.value.rcvd.code == 1009
    assert_serves(port)


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_what_is_no_websocket_is_turned_away(port, garbage):
    with connected(port) as peer:
        peer.sendall(garbage)
        assert b"101" not in everything(peer)[:20]
    assert_serves(port)


def test_a_half_message_and_a_disconnect_in_the_middle_hold_up_nobody(port):
    with greeted(port) as (half, _):
        half.socket.sendall(b"\x82\xfe\x10\x00" + bytes(100))  # 4096 bytes announced, 96 sent
        assert_serves(port)
        half.socket.shutdown(socket.SHUT_RDWR)
        assert_serves(port)


def test_a_handshake_that_takes_too_long_is_ended():
    with running(websocket_server(ServedPolicy(FakeEngine(), "fake"), options(request_timeout_s=0.3))) as port:
        with connected(port) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost:")
            assert_serves(port)
            everything(slow)  # returns: the server ended it
        assert_serves(port)


def test_silence_ends_a_connection():
    with running(websocket_server(ServedPolicy(FakeEngine(), "fake"), options(idle_timeout_s=0.2))) as port:
        with greeted(port) as (connection, _), pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=10)
        assert closed.value.rcvd.reason == "no request for 0.2 s"


def test_a_peer_that_reads_no_answer_does_not_keep_its_place():
    server = websocket_server(ServedPolicy(FakeEngine(), "fake"), options(connections=1, request_timeout_s=0.3))
    ping = packed({"type": "ping"})
    with deaf(server) as (port, peer):
        peer.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        greeting = b""
        while b"server_type" not in greeting:
            greeting += peer.recv(1 << 12)
        shout(peer, 100 * (bytes([0x82, 0x80 | len(ping)]) + bytes(4) + ping))
        eventually(lambda: assert_serves(port))


def test_only_so_many_are_served_at_once():
    with running(websocket_server(ServedPolicy(FakeEngine(), "fake"), options(connections=1))) as port, greeted(port) as (first, _):
        with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as second, pytest.raises(ConnectionClosed) as closed:
            second.recv(timeout=10)
        assert closed.value.rcvd.code == 1013
        assert ask(first, {"examples": [EXAMPLE]})["ok"]


@pytest.fixture
def guarded():
    with running(websocket_server(ServedPolicy(FakeEngine(), "fake"), options(token=TOKEN))) as port:
        yield port


@pytest.mark.parametrize("scheme", ["Api-Key", "Bearer"])
def test_the_token_opens_the_door(guarded, scheme):
    with greeted(guarded, additional_headers={"Authorization": f"{scheme} {TOKEN}"}) as (_, metadata):
        pass
    assert metadata["server_type"] == "starvla_websocket"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Api-Key wrong"}, {"Authorization": TOKEN}])
def test_without_the_token_it_stays_shut(guarded, headers):
    with pytest.raises(InvalidStatus) as refused, greeted(guarded, additional_headers=headers):
        pass
    assert refused.value.response.status_code == 401
    assert b"Authorization: Api-Key <token>" in refused.value.response.body


def test_pages_of_a_browser_are_turned_away(port):
    with pytest.raises(InvalidStatus) as refused, greeted(port, origin="http://evil.example"):
        pass
    assert refused.value.response.status_code == 403
