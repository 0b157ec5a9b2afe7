"""Real-time scheduling for threads that must not wait behind other work, nor for a page that was taken from them."""

import ctypes
import os

EXECUTOR = 40
PHYSICS = 30


def raise_priority(level: int) -> bool:
    """Put the calling thread, and what it starts from now on, under SCHED_FIFO where the user may; whether it worked.

    Only for threads that sleep most of the time: the kernel stops a process whose real-time threads use 95 % of a second.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(level))
    except (AttributeError, OSError):
        return False
    return True


def lock_memory() -> bool:
    """Keep every page that this process has touched or will touch in memory, where the user may; whether it worked.

    A library page dropped under memory pressure is read back from the disk at its next use, in the middle of a tick.
    """
    everything_once_touched = 1 | 2 | 4  # MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT
    return int(ctypes.CDLL(None).mlockall(everything_once_touched)) == 0
