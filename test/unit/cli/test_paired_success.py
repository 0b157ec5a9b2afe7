"""Two success rates over equal seeds."""

import pytest

from lawam_ros.cli.paired_success import paired_difference


def pairs(both: int, lost: int, won: int, neither: int) -> list[tuple[bool, bool]]:
    return [(True, True)] * both + [(True, False)] * lost + [(False, True)] * won + [(False, False)] * neither


def test_a_worked_example():
    found = paired_difference(pairs(150, 12, 6, 32))
    assert (found.pairs, found.first, found.second, found.difference) == (200, 0.81, 0.78, -0.03)
    # By hand: middle (6.5 - 12.5) / 202, spread 1.96 sqrt(19 - 36 / 202) / 202.
    assert found.low == pytest.approx(-0.0297 - 0.0421, abs=2e-4)
    assert found.high == pytest.approx(-0.0297 + 0.0421, abs=2e-4)


def test_the_interval_turns_over_with_the_pair_and_narrows_with_more_of_them():
    one, other = paired_difference(pairs(10, 3, 1, 6)), paired_difference(pairs(10, 1, 3, 6))
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert paired_difference(pairs(100, 30, 10, 60)).low > one.low


def test_no_differing_pair_still_leaves_room_for_one():
    found = paired_difference(pairs(50, 0, 0, 0))
    assert found.difference == 0.0 and found.low < -0.01 and found.high > 0.01


def test_nothing_cannot_be_compared():
    with pytest.raises(ValueError, match="at least one pair"):
        paired_difference([])
