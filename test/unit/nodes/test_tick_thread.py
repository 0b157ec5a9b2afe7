"""The tick keeps its rate, drops the deadlines it missed and never makes them up in a burst."""

import gc
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from lawam_ros.nodes.tick_thread import TickThread

PERIOD_NS = 10_000_000


@pytest.fixture(autouse=True)
def interpreter_as_before() -> Iterator[None]:
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    gc.unfreeze()


def ticks_until(count: int, stall_at: int | None = None, stall_s: float = 0.0) -> tuple[TickThread, list[tuple[int, int, int, int]]]:
    """(deadline, index, time of the call, deadlines dropped so far) of ``count`` ticks, one of them stalled."""
    seen: list[tuple[int, int, int, int]] = []
    enough = threading.Event()

    def on_tick(deadline_ns: int, index: int) -> None:
        seen.append((deadline_ns, index, time.monotonic_ns(), tick.dropped))
        if index == stall_at:
            time.sleep(stall_s)
        if len(seen) >= count:
            enough.set()

    tick = TickThread(PERIOD_NS, on_tick, lambda: pytest.fail("the tick failed"))
    tick.start()
    assert enough.wait(20.0)
    tick.stop()
    return tick, seen


def test_deadlines_are_whole_periods_and_never_early() -> None:
    tick, seen = ticks_until(30)
    first = seen[0][0]
    assert all((deadline - first) % PERIOD_NS == 0 for deadline, *_ in seen)
    assert all(now >= deadline for deadline, _, now, _ in seen)
    assert [index for _, index, *_ in seen] == list(range(len(seen)))
    assert all((deadline - first) // PERIOD_NS == index + dropped - seen[0][3] for deadline, index, _, dropped in seen)
    statistics = tick.statistics()
    assert statistics["ticks"] == tick.ticks >= 30
    assert {"tick_late_us_p50", "tick_late_us_p99", "tick_cost_us_p50", "tick_cost_us_p99", "ticks_dropped"} <= set(statistics)


def test_missed_deadlines_are_dropped_never_made_up() -> None:
    tick, seen = ticks_until(20, stall_at=5, stall_s=0.085)
    deadlines = [deadline for deadline, *_ in seen]
    assert deadlines[6] - deadlines[5] >= 8 * PERIOD_NS
    assert seen[6][3] - seen[5][3] >= 7
    assert all(later - earlier >= PERIOD_NS for earlier, later in zip(deadlines, deadlines[1:], strict=False))


def test_a_tick_that_raises_ends_the_loop_and_tells(capsys: pytest.CaptureFixture[str]) -> None:
    failed = threading.Event()
    calls: list[int] = []

    def on_tick(deadline_ns: int, index: int) -> None:
        calls.append(index)
        if index == 2:
            raise RuntimeError("broken tick")

    tick = TickThread(PERIOD_NS, on_tick, failed.set)
    tick.start()
    assert failed.wait(10.0)
    time.sleep(5 * PERIOD_NS * 1e-9)
    tick.stop()
    assert calls == [0, 1, 2]
    assert "broken tick" in capsys.readouterr().err


def test_stop_ends_the_ticks() -> None:
    tick, seen = ticks_until(3)
    count = len(seen)
    time.sleep(5 * PERIOD_NS * 1e-9)
    assert len(seen) == count
