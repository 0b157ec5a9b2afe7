"""Figures of a run from what was seen."""

import numpy as np
import pytest

from lawam_ros.cli.run_figures import percentile, reaction_ms

MS = 1_000_000


def test_reaction_is_latency_plus_half_the_wait_for_the_next_look():
    uses = [(k * 400 * MS, (k * 400 + 100) * MS) for k in range(5)]
    assert reaction_ms(uses) == 300.0


def test_reaction_agrees_with_events_thrown_at_random():
    random = np.random.default_rng(0)
    seen = np.cumsum(random.integers(50, 500, 200)) * MS
    used = seen + random.integers(20, 300, 200) * MS
    events = random.uniform(seen[0], seen[-1], 200_000)
    first = np.searchsorted(seen, events)
    expected = float((used[first] - events).mean()) * 1e-6
    assert reaction_ms(list(zip(seen.tolist(), used.tolist(), strict=True))) == pytest.approx(expected, rel=0.01)


def test_the_gap_between_episodes_does_not_count():
    episode = [(0, 100 * MS), (400 * MS, 500 * MS)]
    later = [(seen + 10**12, used + 10**12) for seen, used in episode]
    assert reaction_ms(episode + later) == 300.0
    assert reaction_ms(episode[:1]) is None


def test_percentiles():
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0] * 99 + [9.0], 0.99) == 9.0
    assert percentile([], 0.5) is None
