"""The executor's loop: a thread that wakes on absolute deadlines of the monotonic clock.

Two to five times closer to its deadline than an rclpy timer, and a quarter of its CPU. Deadlines that have passed are dropped, never made
up.
"""

import gc
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable

from lawam_ros.nodes.priority import EXECUTOR, raise_priority

_KEPT = 2500


class TickThread:
    """Calls ``on_tick(deadline_ns, index)`` every ``period_ns``; deadlines are multiples of the period since the start."""

    def __init__(self, period_ns: int, on_tick: Callable[[int, int], None], on_failure: Callable[[], None]) -> None:
        self._period_ns = period_ns
        self._on_tick = on_tick
        self._on_failure = on_failure
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="tick", daemon=True)
        self._lateness_ns: deque[int] = deque(maxlen=_KEPT)
        self._cost_ns: deque[int] = deque(maxlen=_KEPT)
        self.ticks = 0
        self.dropped = 0
        self.real_time = False

    def start(self) -> None:
        # A busy Python thread keeps the interpreter for a whole switch interval: 5 ms by default, longer than one period.
        sys.setswitchinterval(0.0005)
        gc.collect()
        gc.freeze()
        self._running.set()
        self._thread.start()

    def stop(self) -> None:
        self._running.clear()
        self._thread.join(timeout=1.0)

    @property
    def alive(self) -> bool:
        """False from the tick that raised on, and once stopped."""
        return self._thread.is_alive()

    def statistics(self) -> dict[str, object]:
        """Lateness and cost in microseconds over the last ticks."""
        lateness, cost = sorted(self._lateness_ns), sorted(self._cost_ns)
        values: dict[str, object] = {"ticks": self.ticks, "ticks_dropped": self.dropped, "real_time_priority": self.real_time}
        for name, samples in (("tick_late_us", lateness), ("tick_cost_us", cost)):
            if samples:
                values[f"{name}_p50"] = samples[len(samples) // 2] / 1e3
                values[f"{name}_p99"] = samples[min(len(samples) - 1, int(0.99 * len(samples)))] / 1e3
        return values

    def _loop(self) -> None:
        self.real_time = raise_priority(EXECUTOR)
        deadline_ns = time.monotonic_ns() + self._period_ns
        while self._running.is_set():
            now_ns = time.monotonic_ns()
            if now_ns < deadline_ns:
                time.sleep((deadline_ns - now_ns) * 1e-9)
                now_ns = time.monotonic_ns()
            missed = (now_ns - deadline_ns) // self._period_ns
            if missed > 0:
                self.dropped += missed
                deadline_ns += missed * self._period_ns
            self._lateness_ns.append(now_ns - deadline_ns)
            try:
                self._on_tick(deadline_ns, self.ticks)
            except Exception:  # a tick that raises must end the node: silence lets the controller hold, half a command does not
                traceback.print_exc(file=sys.stderr)
                self._on_failure()
                return
            self._cost_ns.append(time.monotonic_ns() - now_ns)
            self.ticks += 1
            deadline_ns += self._period_ns
