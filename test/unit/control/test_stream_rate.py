"""Rate and age of a stream."""

import pytest

from lawam_ros.control.stream_rate import StreamRate

MS = 1_000_000


def test_rate_and_age_are_those_of_the_last_arrivals():
    rate = StreamRate()
    assert rate.report("a", 0) == {}
    rate.heard(5 * MS)
    assert rate.report("a", 8 * MS) == {"a_age_ms": 3.0}
    for k in range(200):
        rate.heard((100 + 8 * k) * MS)
    assert rate.report("a", (100 + 8 * 199 + 2) * MS) == pytest.approx({"a_hz": 125.0, "a_age_ms": 2.0})


def test_a_stream_is_heard_since_its_last_gap():
    rate = StreamRate()
    assert rate.heard_for_s(0) is None
    for k in range(100):
        rate.heard((500 + 100 * k) * MS)
    assert rate.heard_for_s((500 + 9_900 + 100) * MS) == 10.0
    assert rate.heard_for_s((500 + 9_900 + 1_001) * MS) is None
    rate.heard(20_000 * MS)
    assert rate.heard_for_s(20_500 * MS) == 0.5
