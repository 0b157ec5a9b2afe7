"""Real-time scheduling for threads that must not wait behind other work, nor for a page that was taken from them."""

import ctypes
import os
import resource
import threading
from contextlib import suppress

EXECUTOR = 40
PHYSICS = 30


SWITCH = "LAWAM_REAL_TIME"
"""Environment variable: ``off`` keeps everything out of SCHED_FIFO."""
_NICE = -15
_LONGEST_WITHOUT_SLEEP_US = 10_000_000


def raise_priority(level: int) -> bool:
    """Put the calling thread, and what it starts from now on, under SCHED_FIFO where the user may; whether it worked.

    Where it may not, or is switched off, the thread gets as nice as it is allowed to be. Only for threads that sleep most of the time. One
    that never sleeps would take the machine with it: after 10 s of that the kernel ends the process (SIGXCPU).
    """
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "false", "no"):
        _be_nice()
        return False
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (_LONGEST_WITHOUT_SLEEP_US, _LONGEST_WITHOUT_SLEEP_US))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(level))
    except (AttributeError, OSError, ValueError):
        _be_nice()
        return False
    return True


def _be_nice() -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def lock_memory() -> bool:
    """Keep every page that this process has touched or will touch in memory, where the user may; whether it worked.

    A library page dropped under memory pressure is read back from the disk at its next use, in the middle of a tick.
    """
    everything_once_touched = 1 | 2 | 4  # MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT
    return int(ctypes.CDLL(None).mlockall(everything_once_touched)) == 0
