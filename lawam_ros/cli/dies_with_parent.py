"""Starts a program that gets a signal from the kernel when its parent dies, however it dies: nothing is left running behind a killed run.

Run as a file, ``python -I -S dies_with_parent.py SIGNAL PARENT_PID PROGRAM ARGUMENT...``; PARENT_PID 0 means whoever it is. Only the
standard library, for it is started once per node.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def signal_at_parents_death(number: int) -> None:
    """Ask the kernel to send this process a signal when the thread that started it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def main(arguments: list[str]) -> None:
    """Replaces this process by the program. The kernel keeps the setting over exec, and drops it for the program's own children."""
    number, parent = int(arguments[0]), int(arguments[1])
    signal_at_parents_death(number)
    if number == signal.SIGINT:  # a node: it takes stops once it can brake, see nodes/managed.py
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    if parent and os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)
    os.execv(arguments[2], arguments[2:])


if __name__ == "__main__":
    main(sys.argv[1:])
