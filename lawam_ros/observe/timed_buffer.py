"""A short memory of stamped samples of one stream."""

import threading
from collections import deque
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

CLOCK_SET_BACK_NS = 500_000_000
"""Further back than transports reorder messages: the sender's clock was set back, or its last stamp was wrong."""


class Sample(NamedTuple, Generic[T]):
    stamp_ns: int
    value: T


class TimedBuffer(Generic[T]):
    """Newest ``capacity`` samples in order of their stamps; written by a subscription, read by a worker."""

    def __init__(self, capacity: int) -> None:
        self._samples: deque[Sample[T]] = deque(maxlen=capacity)
        self._lock = threading.Lock()
        self.out_of_order = 0

    def push(self, stamp_ns: int, value: T) -> bool:
        """Keep a sample; a stamp not newer than the last one is counted and refused, one much older starts the memory anew."""
        with self._lock:
            if self._samples and stamp_ns < self._samples[-1].stamp_ns - CLOCK_SET_BACK_NS:
                self._samples.clear()
            if self._samples and stamp_ns <= self._samples[-1].stamp_ns:
                self.out_of_order += 1
                return False
            self._samples.append(Sample(stamp_ns, value))
            return True

    def newest(self) -> Sample[T] | None:
        with self._lock:
            return self._samples[-1] if self._samples else None

    def newest_until(self, stamp_ns: int) -> Sample[T] | None:
        """Newest sample stamped at or before ``stamp_ns``."""
        with self._lock:
            return next((sample for sample in reversed(self._samples) if sample.stamp_ns <= stamp_ns), None)

    def around(self, stamp_ns: int) -> tuple[Sample[T], Sample[T]] | None:
        """Neighbours with before.stamp_ns <= stamp_ns <= after.stamp_ns, the same sample twice on an exact hit; None outside the memory."""
        with self._lock:
            after = None
            for sample in reversed(self._samples):
                if sample.stamp_ns == stamp_ns:
                    return sample, sample
                if sample.stamp_ns < stamp_ns:
                    return (sample, after) if after is not None else None
                after = sample
            return None

    def forget_before(self, stamp_ns: int) -> None:
        """Drop what ``newest_until`` gives for no instant from ``stamp_ns`` on."""
        with self._lock:
            while len(self._samples) > 1 and self._samples[1].stamp_ns <= stamp_ns:
                self._samples.popleft()

    def clear(self) -> None:
        with self._lock:
            self._samples.clear()
