"""Real-time scheduling for threads that must not wait behind other work."""

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
