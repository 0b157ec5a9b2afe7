"""Real-time scheduling in processes of their own: asked for, switched off, and ended when it takes the machine."""

import os
import signal
import subprocess
import sys

import pytest

from lawam_ros.nodes.priority import SWITCH

TOLD = """
import os
from lawam_ros.nodes import priority
worked = priority.raise_priority(priority.PHYSICS)
print(worked, os.sched_getscheduler(0) == os.SCHED_FIFO)
"""
MIDDLEWARE = """
import os, threading
from lawam_ros.nodes.priority import middleware_priority
def scheduler():
    started = []
    thread = threading.Thread(target=lambda: started.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    return started[0]
with middleware_priority():
    inside = scheduler()
print(inside == os.SCHED_FIFO, scheduler() == os.sched_getscheduler(0) == os.SCHED_OTHER)
"""
SPINS = """
from lawam_ros.nodes import priority
priority._LONGEST_WITHOUT_SLEEP_US = 300_000
assert priority.raise_priority(priority.PHYSICS)
while True:
    pass
"""


def run(code, **environment):
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)


def may(policy=os.SCHED_FIFO):
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, policy, os.sched_param(1))
    except OSError:
        return False
    os.sched_setscheduler(0, *before)
    return True


def test_it_is_switched_off_by_the_environment():
    worked, real_time = run(TOLD, **{SWITCH: "off"}).stdout.split()
    assert (worked, real_time) == ("False", "False")


def test_what_is_said_is_what_the_kernel_says():
    worked, real_time = run(TOLD, **{SWITCH: ""}).stdout.split()
    assert worked == real_time == str(may())


@pytest.mark.parametrize("switch", ["", "off"])
def test_threads_of_the_middleware_alone_are_raised(switch):
    started_inside, ordinary_after = run(MIDDLEWARE, **{SWITCH: switch}).stdout.split()
    assert (started_inside, ordinary_after) == (str(may() and switch != "off"), "True")


@pytest.mark.skipif(not may(), reason="needs the right to SCHED_FIFO")
def test_a_thread_that_never_sleeps_is_ended():
    ended = run(SPINS, **{SWITCH: ""})
    assert ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL)
