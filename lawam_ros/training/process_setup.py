"""Settings of the process that make training on a CPU faster; results do not depend on them."""

import ctypes
import os
import platform
from pathlib import Path

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # names of glibc's mallopt
_LARGEST_INT = 2**31 - 1
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # x86 and Arm, as the kernel writes them
_PROCESSORS = Path("/proc/cpuinfo")


def let_threads_sleep() -> None:
    """Threads that wait do not spin: beside other work on the machine they would take the cores from the ones they wait for.

    Counts only before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_freed_memory() -> bool:
    """Make glibc reuse freed memory instead of returning it to the system; whether that was possible.

    A training step allocates and frees hundreds of large tensors. By default each gets fresh pages from the kernel, whose clearing took
    half of the time of a step.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST_INT), (_TOP_PAD, 2**28))
    accepted = [mallopt(name, value) == 1 for name, value in settings]
    return all(accepted)


def cpu_multiplies_bfloat16(processors: Path = _PROCESSORS) -> bool:
    """Whether the CPU has instructions for products of bfloat16 numbers; False where the kernel does not say. Without them torch
    computes one in software, on a CPU with AVX2 twenty times as slowly as in float32."""
    try:
        lines = processors.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = (line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features")))
    return any(not _BFLOAT16_FLAGS.isdisjoint(found) for found in flags)
