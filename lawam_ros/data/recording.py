"""A recording that runs beside a robot: messages are taken at once and written by a thread of its own, until the disk has no room."""

import queue
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from lawam_ros.data.bag_writer import BagWriter

_MAX_WAITING_BYTES = 256 * 2**20
_LOOK_AT_DISK_BYTES = 4 * 2**20
_POLL_S = 0.1


class Recording:
    """One bag. ``ended`` tells why it came to an end by itself, empty while it goes on; nothing here ever raises into the caller.

    free_bytes: of the disk that holds a folder; keep_free_bytes: what the recording leaves of it to others, its own index included.
    """

    def __init__(
        self,
        writer: BagWriter,
        keep_free_bytes: int,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._writer = writer
        self._keep_free_bytes = keep_free_bytes
        self._free_bytes = free_bytes
        self._waiting: queue.SimpleQueue[tuple[str, int, bytes]] = queue.SimpleQueue()
        self._taken_bytes = self._written_bytes = 0
        self._looked_at_bytes = -_LOOK_AT_DISK_BYTES
        self._stopping = threading.Event()
        self.dropped = 0
        self.ended = ""
        self._thread = threading.Thread(target=self._write, name="recording", daemon=True)
        self._thread.start()

    @property
    def folder(self) -> Path:
        return self._writer.folder

    @property
    def count(self) -> int:
        """Messages written."""
        return self._writer.count

    @property
    def size_bytes(self) -> int:
        return self._writer.size_bytes

    def take(self, topic: str, received_ns: int, raw: bytes) -> None:
        """Returns at once. While the disk is too slow for what comes, messages are dropped and counted."""
        if self.ended:
            return
        if self._taken_bytes - self._written_bytes > _MAX_WAITING_BYTES:
            self.dropped += 1
            return
        self._taken_bytes += len(raw)
        self._waiting.put((topic, received_ns, raw))

    def stop(self) -> None:
        """Write what was taken, and the index."""
        self._stopping.set()
        self._thread.join()

    def _write(self) -> None:
        try:
            while not self.ended:
                try:
                    topic, received_ns, raw = self._waiting.get(timeout=_POLL_S)
                except queue.Empty:
                    if self._stopping.is_set():
                        break
                    continue
                if self._is_full():
                    break
                self._writer.write(topic, received_ns, raw)
                self._written_bytes += len(raw)
            self._writer.close()
        except OSError as error:
            self.ended = f"the disk takes no more ({error.strerror or error}); {self.count} messages are in {self.folder}, without an index"
            self._writer.abandon()

    def _is_full(self) -> bool:
        if self._writer.size_bytes - self._looked_at_bytes < _LOOK_AT_DISK_BYTES:
            return False
        self._looked_at_bytes = self._writer.size_bytes
        free = self._free_bytes(self.folder)
        if free < self._keep_free_bytes:
            self.ended = f"the disk has {free / 2**20:.0f} MB left, {self._keep_free_bytes / 2**20:.0f} MB are kept free; make room"
        return bool(self.ended)
