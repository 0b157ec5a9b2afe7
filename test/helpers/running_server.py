"""A server of ``lawam serve`` in a thread of this process."""

import contextlib
import socket
import threading
import time

from lawam_ros.serving.options import ServeOptions

TOKEN = "a token of many characters"


def options(**changes):
    fields = {"host": "127.0.0.1", "port": 0, "embodiment_id": 25, "action_hz": 20.0, "request_timeout_s": 5.0}
    return ServeOptions(**(fields | changes))


@contextlib.contextmanager
def running(server):
    """Port of the server while it runs."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.port if hasattr(server, "port") else server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join(timeout=5.0)


def connected(port, timeout_s=10.0):
    return contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=timeout_s))


@contextlib.contextmanager
def deaf(server):
    """Port of the server while it runs, and a peer that reads nothing; both have buffers that are soon full."""
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with running(server) as port, socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(0.2)
        peer.connect(("127.0.0.1", port))
        yield port, peer


def shout(peer, data, most_bytes=2_000_000):
    """The same over and over, until the other side does not take it any more."""
    with contextlib.suppress(OSError):
        for _ in range(most_bytes // len(data)):
            peer.sendall(data)


def eventually(asked, seconds=10.0):
    """Calls until it does not raise. A server that has ended a connection needs a moment to take the next."""
    deadline_s = time.monotonic() + seconds
    while True:
        try:
            return asked()
        except Exception:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)


def everything(connection):
    """All bytes until the other side ends the connection; what it threw away unread counts as its end."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)
