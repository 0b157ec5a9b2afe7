"""A server of ``lawam serve`` in a thread of this process."""

import contextlib
import socket
import threading

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


def everything(connection):
    """All bytes until the other side ends the connection; what it threw away unread counts as its end."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)
