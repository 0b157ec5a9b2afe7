"""A question to another node, for a loop that cannot wait for the answer."""

import threading
import time
from collections.abc import Callable

from lawam_ros.contract.errors import LawamError


class Asked:
    """A question whose answer takes time, asked in a thread of its own; ``answer`` is None until it comes."""

    def __init__(self, question: Callable[[], bool], since_s: float | None = None) -> None:
        self.since_s = time.monotonic() if since_s is None else since_s
        self.answer: bool | None = None
        self._question = question
        threading.Thread(target=self._ask, daemon=True).start()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.since_s

    def _ask(self) -> None:
        try:
            self.answer = self._question()
        except LawamError:
            self.answer = False
