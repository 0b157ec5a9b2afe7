"""A socket whose time-out is an instant, not a pause: a peer that sends one byte a second gets no more time than one that sends none."""

import socket
import time
from typing import Any


class DeadlineSocket(socket.socket):
    """A connected socket. Every receive and send shares the time left until ``deadline_s``, and raises TimeoutError at its end."""

    _deadline_s: float | None = None

    @classmethod
    def around(cls, connected: socket.socket) -> "DeadlineSocket":
        """The same connection; the given object is empty afterwards."""
        return cls(connected.family, connected.type, connected.proto, fileno=connected.detach())

    def allow(self, seconds: float) -> None:
        """From now on there are so many seconds left."""
        self._deadline_s = time.monotonic() + seconds

    def recv(self, *arguments: Any) -> bytes:
        self._set_rest()
        return super().recv(*arguments)

    def recv_into(self, *arguments: Any) -> int:
        self._set_rest()
        return super().recv_into(*arguments)

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

    def _set_rest(self) -> None:
        if self._deadline_s is None:
            return
        rest_s = self._deadline_s - time.monotonic()
        if rest_s <= 0.0:
            raise TimeoutError("timed out")
        self.settimeout(rest_s)
