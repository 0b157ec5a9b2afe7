"""Batches made ahead of time in background threads, in order, and how long training had to wait for them.

Threads suffice: video decoding, image resizing and numpy leave the interpreter free.
"""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

Make = Callable[[int, int], Any]
"""(optimiser step, part of the step) to a batch."""


class Prefetcher:
    """Calls ``make(step, part)`` for the given parts of one step after the other; use as a context manager.

    workers: threads, 0 makes each batch when it is asked for. ahead: batches in preparation at a time.
    """

    def __init__(self, make: Make, parts: tuple[int, ...], first_step: int, workers: int, ahead: int | None = None) -> None:
        self._make, self._parts = make, parts
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batch") if workers else None
        self._ahead = ahead or 2 * workers
        self._asked = self._given = first_step * len(parts)
        self._waiting: deque[Future[Any]] = deque()
        self.waited_s = 0.0

    def next(self) -> Any:
        """The next batch; what went wrong while making it is raised here."""
        started = time.monotonic()
        try:
            if self._pool is None:
                return self._make(*self._place(self._given))
            while len(self._waiting) < self._ahead:
                self._waiting.append(self._pool.submit(self._make, *self._place(self._asked)))
                self._asked += 1
            return self._waiting.popleft().result()
        finally:
            self._given += 1
            self.waited_s += time.monotonic() - started

    def _place(self, number: int) -> tuple[int, int]:
        step, part = divmod(number, len(self._parts))
        return step, self._parts[part]

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
