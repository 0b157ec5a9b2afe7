"""A socket whose time-out is an instant, not a pause: a peer that sends one byte a second gets no more time than one that sends none."""

import socket
import struct
import time
from typing import Any

from lawam_ros.policies.wire.peer_mistake import PeerMistake


class DeadlineSocket(socket.socket):
    """A connected socket. Every receive and send shares the time left until ``deadline_s``, and raises TimeoutError at its end."""

    _deadline_s: float | None = None
    _most_bytes: int | None = None
    _came = 0

    @classmethod
    def around(cls, connected: socket.socket) -> "DeadlineSocket":
        """The same connection; the given object is empty afterwards."""
        return cls(connected.family, connected.type, connected.proto, fileno=connected.detach())

    def allow(self, seconds: float, most_bytes: int | None = None) -> None:
        """From now on there are so many seconds left, and so many bytes to come: with one more, receiving raises PeerMistake."""
        self._deadline_s = time.monotonic() + seconds
        self._most_bytes, self._came = most_bytes, 0

    def recv(self, *arguments: Any) -> bytes:
        self._set_rest()
        data = super().recv(*arguments)
        self._count(len(data))
        return data

    def recv_into(self, *arguments: Any) -> int:
        self._set_rest()
        size = super().recv_into(*arguments)
        self._count(size)
        return size

    def sendall(self, *arguments: Any) -> None:
        self._set_rest()
        super().sendall(*arguments)

    def exactly(self, size: int) -> bytes:
        """So many bytes, or EOFError. Memory grows with what comes, not with what was announced."""
        parts, missing = [], size
        while missing:
            part = self.recv(min(missing, 1 << 16))
            if not part:
                raise EOFError(f"the connection ended after {size - missing} of {size} bytes")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _count(self, size: int) -> None:
        self._came += size
        if self._most_bytes is not None and self._came > self._most_bytes:
            raise PeerMistake(f"expected an answer of up to {self._most_bytes} bytes, got more")

    def _set_rest(self) -> None:
        if self._deadline_s is None:
            return
        rest_s = self._deadline_s - time.monotonic()
        if rest_s <= 0.0:
            raise TimeoutError("timed out")
        self.settimeout(rest_s)


def send_within(connected: socket.socket, seconds: float) -> None:
    """From now on a single send waits so long for a peer that reads nothing, then raises OSError; for libraries that set no limit."""
    limit = struct.pack("ll", int(seconds), round(seconds % 1.0 * 1e6))
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
