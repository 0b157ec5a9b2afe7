"""Stamps keep the spacing of ticks while the offset between the clocks is followed, and jumps are told apart from drift."""

import time

import pytest

from lawam_ros.nodes.stamp_clock import JUMP_NS, StampClock, follow, read_offset_ns

OFFSET_NS = 1_700_000_000_000_000_000
HELD = StampClock(OFFSET_NS)
NOW_NS = 123_456_789


def after(change_ns: int) -> tuple[int, bool]:
    """Change of the offset when ROS time is off by this much, and whether that was a jump."""
    clock, jumped = follow(HELD, OFFSET_NS + change_ns)
    return clock.offset_ns - OFFSET_NS, jumped


def test_both_ways() -> None:
    assert HELD.to_ros(NOW_NS) == OFFSET_NS + NOW_NS
    assert HELD.to_clock(HELD.to_ros(NOW_NS)) == NOW_NS


@pytest.mark.parametrize("change_ns", [0, 1, -1, 20_000, -20_000])
def test_scatter_of_the_reading_changes_nothing(change_ns: int) -> None:
    assert after(change_ns) == (0, False)


@pytest.mark.parametrize("change_ns", [20_001, 1_000_000, JUMP_NS])
def test_drift_is_followed_slowly_both_ways(change_ns: int) -> None:
    step, jumped = after(change_ns)
    assert 0 < step <= 1_000
    assert not jumped
    assert after(-change_ns) == (-step, False)


@pytest.mark.parametrize("change_ns", [JUMP_NS + 1, -JUMP_NS - 1, 3_600_000_000_000, -3_600_000_000_000])
def test_jumps_are_taken_at_once_and_told(change_ns: int) -> None:
    assert after(change_ns) == (change_ns, True)


def test_a_drifting_clock_stays_within_the_dead_band() -> None:
    """50 ppm, a bad quartz, over ten minutes at 250 Hz."""
    clock, worst = HELD, 0
    for tick in range(150_000):
        true_offset = OFFSET_NS + tick * 4_000_000 // 20_000
        before = clock
        clock, jumped = follow(clock, true_offset)
        assert not jumped
        assert abs(clock.offset_ns - before.offset_ns) <= 400
        worst = max(worst, abs(clock.offset_ns - true_offset))
    assert worst <= 20_400


def test_the_offset_is_read_between_two_readings_of_the_monotonic_clock() -> None:
    for _ in range(1000):  # a busy machine may interrupt some readings
        measured = read_offset_ns(lambda: time.monotonic_ns() + OFFSET_NS)
        if measured is not None:
            break
    assert measured is not None
    assert abs(measured - OFFSET_NS) <= 20_000


def test_an_interrupted_reading_is_no_reading() -> None:
    def interrupted() -> int:
        time.sleep(0.001)
        return time.monotonic_ns() + OFFSET_NS

    assert read_offset_ns(interrupted) is None
