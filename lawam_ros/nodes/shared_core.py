"""The executor's core between the threads that use it: ticks, inputs, links, services and transitions."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from lawam_ros.control.executor import ChunkExecutor
from lawam_ros.control.tick_output import TickOutput
from lawam_ros.nodes.stamp_clock import StampClock

T = TypeVar("T")


class SharedCore:
    """There is a ``core`` from setup to teardown. ``output``: of its last tick.

    Ticks wait for ``lock``: whoever holds it neither logs (a terminal may stand still) nor waits for anybody.
    now_ns: the core's clock, monotonic time or stepped time; stamps: from it to ROS time and back.
    """

    def __init__(self, stamps: StampClock) -> None:
        self.lock = threading.Lock()
        self.core: ChunkExecutor | None = None
        self.output: TickOutput | None = None
        self.stamps = stamps
        self.now_ns: Callable[[], int] = time.monotonic_ns

    def put(self, core: ChunkExecutor | None) -> None:
        """A new core, or none any more; what the last one gave is forgotten."""
        with self.lock:
            self.core, self.output = core, None

    def tell(self, say: Callable[[ChunkExecutor], T]) -> T | None:
        """What ``say`` answers; None where there is no core."""
        with self.lock:
            return None if self.core is None else say(self.core)
