"""The chunk rule of the official towel server, against its formula written out."""

import numpy as np
import pytest

from lawam_ros.policies.wire.peer_mistake import PeerMistake
from lawam_ros.serving.towel_history import TowelHistory

RNG = np.random.default_rng(3)
CHUNKS = RNG.normal(size=(3, 10, 14))
MEASURED = RNG.normal(size=14)


def blended(past, current):
    def weight(x):
        return np.exp(0.05 * (x @ current) / (np.linalg.norm(x) * np.linalg.norm(current) + 1e-7))

    return (weight(past) * past + weight(current) * current) / (weight(past) + weight(current))


def test_the_first_answer_starts_at_the_measured_row():
    rows = TowelHistory().rows(CHUNKS[0], MEASURED, 4)
    assert np.array_equal(rows, np.concatenate([MEASURED[None], CHUNKS[0][:4]]))


def test_later_answers_start_at_the_last_row_told_and_blend_with_the_raw_tail():
    history = TowelHistory()
    first = history.rows(CHUNKS[0], MEASURED, 4)
    second = history.rows(CHUNKS[1], MEASURED, 4)
    np.testing.assert_allclose(second, [first[-1], *(blended(CHUNKS[0][4 + i], CHUNKS[1][i]) for i in range(4))])
    third = history.rows(CHUNKS[2], MEASURED, 4)
    np.testing.assert_allclose(third[1:], [blended(CHUNKS[1][4 + i], CHUNKS[2][i]) for i in range(4)])


def test_where_the_tail_is_short_the_chunk_stands_alone():
    history = TowelHistory()
    history.rows(CHUNKS[0], MEASURED, 8)  # leaves two rows
    rows = history.rows(CHUNKS[1], MEASURED, 8)[1:]
    np.testing.assert_allclose(rows[:2], [blended(CHUNKS[0][8 + i], CHUNKS[1][i]) for i in range(2)])
    assert np.array_equal(rows[2:], CHUNKS[1][2:8])


def test_reset_forgets_row_and_tail():
    history = TowelHistory()
    history.rows(CHUNKS[0], MEASURED, 4)
    history.reset()
    assert np.array_equal(history.rows(CHUNKS[1], MEASURED, 4), np.concatenate([MEASURED[None], CHUNKS[1][:4]]))


def test_without_ensemble_and_with_latency():
    history = TowelHistory(latency_steps=3, ensemble=False)
    history.rows(CHUNKS[0], MEASURED, 4)
    assert np.array_equal(history.rows(CHUNKS[1], MEASURED, 4)[1:], CHUNKS[1][3:7])
    with pytest.raises(PeerMistake, match="expected a chunk of more than 3 steps, got 3"):
        history.rows(CHUNKS[0][:3], MEASURED, 4)
