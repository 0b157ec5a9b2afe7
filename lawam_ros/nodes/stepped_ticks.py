"""The executor's side of lock step: when a step may be ticked, and when a chunk that has arrived is released."""

import time
from collections.abc import Iterable, Mapping

from lawam_ros.contract.records import ActionChunk
from lawam_ros.control.lock_step import StepLedger

SILENT_S = 2.0
"""Wall time without a step after which a braking ramp runs on by itself."""


class SteppedTicks:
    """Stamps are int ns of stepped time. topic: resolved name of joint_states; further: of what else a step may list for the executor."""

    def __init__(self, topic: str, latency_ns: int, further: Iterable[str] = ()) -> None:
        self.topic = topic
        self.ledger = StepLedger([topic, *further])
        self.ticked_ns: int | None = None
        self.judged_ns = -1
        self._latency_ns = latency_ns
        self._held: list[ActionChunk] = []
        self._heard_s = time.monotonic()

    @property
    def now_ns(self) -> int:
        """Stepped time: the last tick, 0 before the first."""
        return self.ticked_ns or 0

    @property
    def silent_s(self) -> float:
        """Wall time since the last step."""
        return time.monotonic() - self._heard_s

    def announced(self, stamp_ns: int, newest: Mapping[str, int]) -> bool:
        """Take note of a step; False when it was ticked already and only the answer is asked for again."""
        self._heard_s = time.monotonic()
        if self.ticked_ns is not None and stamp_ns <= self.ticked_ns:
            return False
        self.ledger.announce(stamp_ns, newest)
        return True

    def due_ns(self) -> int | None:
        """The step to tick now: announced, complete and not ticked yet."""
        stamp_ns = self.ledger.stamp_ns
        if stamp_ns is None or not self.ledger.complete or (self.ticked_ns is not None and stamp_ns <= self.ticked_ns):
            return None
        return stamp_ns

    def hold(self, chunk: ActionChunk) -> None:
        """A chunk has arrived; it is used at the first tick not earlier than its observation plus the latency."""
        self._held.append(chunk)

    def released(self, now_ns: int) -> list[ActionChunk]:
        """Chunks that are due at this tick, oldest first; they are handed out once."""
        due = sorted((chunk for chunk in self._held if chunk.stamp_ns + self._latency_ns <= now_ns), key=lambda chunk: chunk.stamp_ns)
        self._held = [chunk for chunk in self._held if chunk.stamp_ns + self._latency_ns > now_ns]
        return due
