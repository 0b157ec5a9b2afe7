"""A short memory of stamped samples: order, capacity, neighbours, and a sender whose clock was set back."""

import pytest

from lawam_ros.observe.timed_buffer import TimedBuffer


def filled(*stamps_ms: int, capacity: int = 10) -> TimedBuffer[str]:
    buffer: TimedBuffer[str] = TimedBuffer(capacity)
    for stamp_ms in stamps_ms:
        assert buffer.push(stamp_ms * 1_000_000, f"at {stamp_ms}")
    return buffer


def test_empty() -> None:
    buffer: TimedBuffer[str] = TimedBuffer(3)
    assert buffer.newest() is None
    assert buffer.newest_until(10**18) is None
    assert buffer.around(0) is None


def test_oldest_falls_out() -> None:
    buffer = filled(10, 20, 30, 40, capacity=3)
    assert buffer.newest_until(10_000_000) is None
    assert buffer.newest_until(20_000_000) == (20_000_000, "at 20")
    assert buffer.newest() == (40_000_000, "at 40")


@pytest.mark.parametrize("stamp_ms", [30, 29, 5])
def test_repeated_and_late_samples_are_counted_and_refused(stamp_ms: int) -> None:
    buffer = filled(10, 20, 30)
    assert not buffer.push(stamp_ms * 1_000_000, "late")
    assert buffer.out_of_order == 1
    assert buffer.newest() == (30_000_000, "at 30")
    assert buffer.push(31_000_000, "next")


@pytest.mark.parametrize(("stamp_ms", "expected"), [(9, None), (10, "at 10"), (19, "at 10"), (20, "at 20"), (99, "at 20")])
def test_newest_until_includes_the_instant_itself(stamp_ms: int, expected: str | None) -> None:
    sample = filled(10, 20).newest_until(stamp_ms * 1_000_000)
    assert (sample.value if sample else None) == expected


@pytest.mark.parametrize(
    ("stamp_ms", "expected"),
    [(9, None), (10, ("at 10", "at 10")), (15, ("at 10", "at 20")), (20, ("at 20", "at 20")), (25, ("at 20", "at 30")), (31, None)],
)
def test_neighbours(stamp_ms: int, expected: tuple[str, str] | None) -> None:
    pair = filled(10, 20, 30).around(stamp_ms * 1_000_000)
    assert (pair and (pair[0].value, pair[1].value)) == expected


def test_a_clock_set_back_starts_the_memory_anew() -> None:
    """Else a stream would be refused for as long as its clock was set back, and the policy would starve in silence."""
    buffer = filled(100_000, 100_050)
    assert buffer.push(40_000_000_000, "after the step")
    assert buffer.newest() == (40_000_000_000, "after the step")
    assert buffer.newest_until(10**18) == (40_000_000_000, "after the step")
    assert buffer.around(100_010_000_000) is None
    assert buffer.push(40_050_000_000, "next")


def test_one_stamp_from_the_future_does_not_starve_the_stream() -> None:
    buffer = filled(1000)
    assert buffer.push(10**18, "broken stamp")
    assert buffer.push(1_050_000_000, "good")
    assert buffer.newest() == (1_050_000_000, "good")


def test_clear() -> None:
    buffer = filled(10, 20)
    buffer.clear()
    assert buffer.newest() is None
    assert buffer.push(5_000_000, "earlier than before")
