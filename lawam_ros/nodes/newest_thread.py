"""A thread for what may wait, handed over by a thread that may not: it is told the newest, and what it had no time for goes untold."""

import sys
import threading
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestThread(Generic[Item]):
    """Calls ``tell`` with what was handed over last, one call at a time."""

    def __init__(self, name: str, tell: Callable[[Item], None], failed: Callable[[], None]) -> None:
        """name: of the thread. failed: told when ``tell`` raises, after which nothing is told any more."""
        self._tell = tell
        self._failed = failed
        self._news = threading.Condition()
        self._newest: Item | None = None
        self._open = True
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def hand(self, item: Item) -> None:
        """Returns at once."""
        with self._news:
            self._newest = item
            self._news.notify()

    def close(self) -> None:
        with self._news:
            self._open = False
            self._news.notify()
        self._thread.join(timeout=1.0)

    def _loop(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._newest is not None or not self._open)
                item, self._newest = self._newest, None
                if item is None or not self._open:
                    return
            try:
                self._tell(item)
            except Exception:  # a node that is silent from here on must end
                traceback.print_exc(file=sys.stderr)
                self._failed()
                return
