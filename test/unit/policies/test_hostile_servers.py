"""Servers that lie, stall and flood: each ends in one sentence, in bounded time and memory."""

import contextlib
import socket
import struct
import threading
import time

import pytest
from two_armed import TWO_ARMED
from websockets.sync.server import serve

from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.load import load_contract
from lawam_ros.policies.made_up import made_up_observation
from lawam_ros.policies.remote.address import remote_address
from lawam_ros.policies.remote.franka_client import FrankaServer
from lawam_ros.policies.remote.server_facts import ServerSilent
from lawam_ros.policies.remote.towel_client import TowelServer
from lawam_ros.policies.remote.websocket_client import WebsocketServer
from lawam_ros.policies.wire.array_maps import packed
from lawam_ros.policies.wire.towel_tcp import json_frame

FRANKA = load_contract("franka_pick_place")
PATIENCE_S = 0.5


@contextlib.contextmanager
def talking(talk):
    """Port of a server that treats each connection with ``talk``."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def accept():
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=treat, args=(connection,), daemon=True).start()

    def treat(connection):
        with connection, contextlib.suppress(OSError):
            talk(connection, stopped)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def says(data):
    return lambda connection, stopped: (connection.recv(1 << 16), connection.sendall(data), stopped.wait(20.0))


def says_and_leaves(data):
    return lambda connection, stopped: (connection.recv(1 << 16), connection.sendall(data))


def hangs_up(connection, stopped):
    connection.recv(10)


def is_silent(connection, stopped):
    stopped.wait(20.0)


def trickles(start):
    def talk(connection, stopped):
        connection.recv(1 << 16)
        connection.sendall(start)
        while not stopped.wait(0.02):
            connection.sendall(b" ")

    return talk


def floods(start):
    def talk(connection, stopped):
        connection.recv(1 << 16)
        connection.sendall(start)
        while not stopped.is_set():
            connection.sendall(bytes(1 << 20))

    return talk


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("talk", "match"),
    [
        (hangs_up, "gave no HTTP answer"),
        (is_silent, "gave no HTTP answer"),
        (says(b"garbage\r\n\r\n"), "gave no HTTP answer"),
        (says(OK + b"Content-Length: 2\r\n\r\n[]"), "expected a JSON object, got list"),
        (says(OK + b"Content-Length: 9\r\nConnection: close\r\n\r\n{garbage}"), "expected a JSON object"),
        (trickles(OK), "gave no HTTP answer"),
        (trickles(OK + b"Content-Length: 1000000000\r\n\r\n{"), "gave no HTTP answer"),
        (floods(OK + b"Content-Length: 1000000000\r\n\r\n{"), "expected an answer of up to|gave no HTTP answer"),
        (floods(OK + b"X: "), "gave no HTTP answer"),
        (floods(OK + b"\r\n"), "expected an answer of up to 67108864 bytes, got more"),
        (says_and_leaves(OK + b"Content-Length: 1000000000\r\n\r\n{"), "gave no HTTP answer"),
        (trickles(CHUNKED + b"3b9aca00\r\n"), "gave no HTTP answer"),
        (floods(CHUNKED + b"3b9aca00\r\n"), "expected an answer of up to 67108864 bytes, got more"),
        (floods(CHUNKED + b"-1\r\n"), "expected an answer of up to 67108864 bytes, got more"),
        (says(CHUNKED + b"-5\r\n"), "gave no HTTP answer"),
        (says(CHUNKED + b"zz\r\n"), "gave no HTTP answer"),
        (says(b"HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\n<html>"), "answered with HTTP status 502: expected a JSON object"),
        (says(b"HTTP/1.1 301 Moved\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"), "answered with HTTP status 301"),
    ],
)
def test_http(talk, match):
    with talking(talk) as port:
        server = FrankaServer(remote_address(f"http://127.0.0.1:{port}?actions=libero"), FRANKA)
        started = time.monotonic()
        with pytest.raises((LawamError, ValueError), match=match):
            server.ask(made_up_observation(FRANKA), PATIENCE_S)
        assert time.monotonic() - started < 20.0


@pytest.mark.parametrize(
    ("talk", "match"),
    [
        (hangs_up, "gave no answer"),
        (is_silent, "gave no answer"),
        (says(struct.pack("<I", 10**9)), "expected an answer of 1 to 16777216 bytes, got a length of 1000000000"),
        (says(struct.pack("<I", 8) + b"garbage!"), "expected a JSON object"),
        (says(struct.pack("<I", 8) + b"{"), "gave no answer"),
        (says(struct.pack("<I", 2) + b"{}"), "the server refused: None"),
        (says_and_leaves(struct.pack("<I", 8) + b"{"), "the connection ended after 1 of 8 bytes"),
        (says_and_leaves(b"\x08"), "the connection ended after 1 of 4 bytes"),
        (floods(struct.pack("<I", 16 << 20)), "expected a JSON object"),
        (trickles(struct.pack("<I", 10**6)), "gave no answer"),
        (says(json_frame({"status": "error", "message": "busy"})), "the server refused: busy"),
    ],
)  # fmt: skip
def test_towel_tcp(talk, match):
    with talking(talk) as port:
        server = TowelServer(remote_address(f"tcp://127.0.0.1:{port}"), TWO_ARMED)
        started = time.monotonic()
        with pytest.raises((LawamError, ValueError), match=match):
            server.ask(made_up_observation(TWO_ARMED), PATIENCE_S)
        assert time.monotonic() - started < 20.0


@pytest.mark.parametrize("talk", [hangs_up, is_silent, says(b"garbage\r\n\r\n"), says(OK + b"\r\n"), trickles(OK), floods(OK + b"X: ")])
def test_websocket_handshakes(talk):
    with talking(talk) as port:
        server = WebsocketServer(remote_address(f"ws://127.0.0.1:{port}?actions=libero"), FRANKA)
        started = time.monotonic()
        with pytest.raises(ServerSilent, match="does not answer as a LaWAM websocket server|refused with HTTP status"):
            server.connect(PATIENCE_S)
        assert time.monotonic() - started < 20.0


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ([], "does not answer as a LaWAM websocket server"),
        (["hello"], "expected metadata as a binary message"),
        ([b"\xc1"], "expected one msgpack message"),
        ([packed([1])], "expected metadata as a map"),
        ([packed({"lawam_ros": 3})], "expected the metadata of a lawam_ros server"),
        ([packed({"lawam_ros": {"facts": {"format": 99}}})], "expected"),
    ],
)
def test_websocket_greetings(messages, match):
    def talk(connection):
        for message in messages:
            connection.send(message)
        connection.recv(timeout=20)

    with websocket_of(talk) as port:
        server = WebsocketServer(remote_address(f"ws://127.0.0.1:{port}?actions=libero"), FRANKA)
        with pytest.raises((LawamError, ValueError), match=match):
            server.connect(PATIENCE_S)


def announces_a_gigabyte(connection):
    connection.socket.sendall(b"\x82\x7f" + struct.pack(">Q", 10**9))


def leaves_in_the_middle(connection):
    connection.socket.sendall(b"\x82\x7e\x10\x00" + bytes(10))
    connection.socket.shutdown(socket.SHUT_RDWR)


def sends_fragments_without_end(connection):
    connection.socket.sendall(b"\x02\x7f" + struct.pack(">Q", 1 << 20) + bytes(1 << 20))
    while True:
        connection.socket.sendall(b"\x00\x7f" + struct.pack(">Q", 1 << 20) + bytes(1 << 20))


def pings_instead(connection):
    while True:
        connection.socket.sendall(b"\x89\x00")
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("reply", "match"),
    [
        (None, "gave no answer within"),
        (announces_a_gigabyte, "gave no answer within"),
        (leaves_in_the_middle, "gave no answer within"),
        (sends_fragments_without_end, "gave no answer within"),
        (pings_instead, "gave no answer within"),
        ("Traceback\nValueError: no", "the server failed: ValueError: no"),
        (b"\xc1", "expected one msgpack message"),
        (bytes(65 << 20), "gave no answer within"),
        (packed({"status": "ok", "data": {"normalized_actions": 3}}), "expected normalized_actions"),
    ],
)
def test_websocket_answers(reply, match):
    def talk(connection):
        connection.send(packed({"ckpt_path": "x"}))
        connection.recv(timeout=20)
        if callable(reply):
            reply(connection)
        elif reply is not None:
            connection.send(reply)
        connection.recv(timeout=20)

    with websocket_of(talk) as port:
        server = WebsocketServer(remote_address(f"ws://127.0.0.1:{port}?actions=libero"), FRANKA)
        with pytest.raises((LawamError, ValueError), match=match):
            server.ask(made_up_observation(FRANKA), PATIENCE_S)


@contextlib.contextmanager
def websocket_of(talk):
    def quietly(connection):
        with contextlib.suppress(Exception):
            talk(connection)

    with serve(quietly, "127.0.0.1", 0, compression=None, max_size=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "contract", "kind"), [("ws", FRANKA, WebsocketServer), ("http", FRANKA, FrankaServer), ("tcp", TWO_ARMED, TowelServer)]
)
def test_nobody_there(address, contract, kind):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServerSilent, match="Connection refused"):
        kind(remote_address(f"{address}://127.0.0.1:{port}?actions=libero"), contract).connect(PATIENCE_S)
