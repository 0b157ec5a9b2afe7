"""A TCP server with a thread per connection, a bound on their number, and deadlines instead of pauses."""

import socketserver
import sys
import threading
import traceback
from typing import Any

from lawam_ros.policies.wire.deadline_socket import DeadlineSocket


class ThreadedServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Connections beyond ``connections`` are closed at once: who waits in a queue cannot be told apart from who is served."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler], connections: int) -> None:
        self._free = threading.BoundedSemaphore(connections)
        super().__init__(address, handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def serve_forever(self, poll_interval: float = 0.05) -> None:
        """poll_interval: how long ``shutdown`` waits at most."""
        super().serve_forever(poll_interval)

    def get_request(self) -> tuple[DeadlineSocket, Any]:
        connected, address = super().get_request()
        return DeadlineSocket.around(connected), address

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            print(f"refused {client_address[0]}: as many connections as allowed are open", file=sys.stderr)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that goes away is no fault; anything else is ours and must be seen, but ends only its own connection."""
        error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
        if isinstance(error, OSError | EOFError):
            print(f"lost {client_address[0]}: {error or type(error).__name__}", file=sys.stderr)
            return
        traceback.print_exc(file=sys.stderr)
