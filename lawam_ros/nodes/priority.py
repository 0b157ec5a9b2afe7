"""Real-time scheduling for threads that must not wait behind other work, nor for a page that was taken from them."""

import ctypes
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

EXECUTOR = 40
PHYSICS = 30
MIDDLEWARE = 20
BEFORE_OTHERS, AFTER_OTHERS = -10, 10

SWITCH = "LAWAM_REAL_TIME"
"""Environment variable: ``off`` keeps everything out of SCHED_FIFO."""
_NICE = -15
_LONGEST_WITHOUT_SLEEP_US = 10_000_000


def raise_priority(level: int) -> bool:
    """Put the calling thread, and what it starts from now on, under SCHED_FIFO where the user may; whether it worked.

    Where it may not, or is switched off, the thread gets as nice as it is allowed to be. Only for threads that sleep most of the time. One
    that never sleeps would take the machine with it: after 10 s of that the kernel ends the process (SIGXCPU).
    """
    raised = _to_fifo(level)
    if not raised:
        prefer(_NICE)
    return raised


def take_ordinary_priority() -> None:
    """Out of SCHED_FIFO, which a thread inherits from the one that starts it, and a process too."""
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def middleware_priority() -> Iterator[None]:
    """What the middleware starts meanwhile is under SCHED_FIFO where the user may, the calling thread afterwards as it was.

    Shared memory is locked by whoever reads or writes it. A reader's thread that waits for a core with the lock would hold up the
    simulation, which writes joint states there: for 42 ms, as measured on two busy cores, of the 50 that the executor allows.
    """
    ordinary = hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) == os.SCHED_OTHER
    raised = ordinary and _to_fifo(MIDDLEWARE)
    try:
        yield
    finally:
        if raised:
            take_ordinary_priority()


def _to_fifo(level: int) -> bool:
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "false", "no"):
        return False
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (_LONGEST_WITHOUT_SLEEP_US, _LONGEST_WITHOUT_SLEEP_US))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(level))
    except (AttributeError, OSError, ValueError):
        return False
    return True


def prefer(nice: int) -> None:
    """Nice value of the calling thread, and of what it starts from now on. Below 0, where the user may, it goes before others of ordinary
    priority, above 0 after them."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def lock_memory() -> bool:
    """Keep every page that this process has touched or will touch in memory, where the user may; whether it worked.

    A library page dropped under memory pressure is read back from the disk at its next use, in the middle of a tick.
    """
    everything_once_touched = 1 | 2 | 4  # MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT
    return int(ctypes.CDLL(None).mlockall(everything_once_touched)) == 0
