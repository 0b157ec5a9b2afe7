"""The bare C loop that a tick thread is compared with: absolute deadlines by clock_nanosleep and nothing to do."""

import json
import shutil
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static long long now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
int main(int argc, char **argv) {
  if (argc != 3) return 2;
  long long period = atoll(argv[1]), count = atoll(argv[2]), done = 0, dropped = 0;
  long long *late = malloc(sizeof(long long) * count);
  struct sched_param priority = {.sched_priority = 40};
  int real_time = sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
  long long deadline = now() + period;
  while (done < count) {
    struct timespec t = {deadline / 1000000000LL, deadline % 1000000000LL};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    long long lateness = now() - deadline, missed = lateness / period;
    if (missed > 0) { dropped += missed; deadline += missed * period; lateness -= missed * period; }
    late[done++] = lateness;
    deadline += period;
  }
  printf("{\"real_time\": %s, \"dropped\": %lld, \"late_ns\": [", real_time ? "true" : "false", dropped);
  for (long long i = 0; i < count; i++) printf(i ? ",%lld" : "%lld", late[i]);
  printf("]}\n");
  return 0;
}
"""


def compiled_loop(folder: Path) -> Path | None:
    """The program, compiled into ``folder``; None where there is no C compiler."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        return None
    source, program = folder / "nanosleep_loop.c", folder / "nanosleep_loop"
    source.write_text(SOURCE, encoding="utf-8")
    built = subprocess.run([compiler, "-O2", "-o", str(program), str(source)], capture_output=True, text=True)
    return program if built.returncode == 0 else None


def run_loop(program: Path, period_ns: int, count: int) -> tuple[list[int], int]:
    """Lateness (ns) of ``count`` wake-ups and how many deadlines were dropped besides."""
    found = json.loads(subprocess.run([str(program), str(period_ns), str(count)], capture_output=True, text=True, check=True).stdout)
    return found["late_ns"], found["dropped"]
