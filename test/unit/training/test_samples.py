"""Which rows make a chunk, what is normalised how, and what the cache keeps."""

import numpy as np
import pytest
import torch

from lawam_ros.data.action_space import absolute_from_relative
from lawam_ros.training.demonstrations import start_rows
from lawam_ros.training.feature_cache import CachedRows, build_cache
from lawam_ros.training.samples import (
    SMALLEST_HALF_RANGE,
    FrameTable,
    build_chunks,
    chunk_rows,
    dataset_statistics,
    denormalise,
    normalise,
    pad_last,
)

SLOTS = ("translation_chunk_relative", "rotvec_chunk_relative", "gripper_opening")
LENGTHS = (5, 3)


@pytest.fixture
def table() -> FrameTable:
    count = sum(LENGTHS)
    rng = np.random.default_rng(0)
    rows = np.zeros((count + 1, 8))
    rows[:, :3], rows[:, 6], rows[:, 7] = rng.normal(size=(count + 1, 3)), 1.0, rng.uniform(0, 0.08, count + 1)
    return FrameTable(rng.normal(size=(count, 10)), rows[:-1], rows[1:], np.repeat([0, 1], LENGTHS))


def test_chunks_start_at_their_frame_and_repeat_the_last_row_of_the_episode(table):
    rows = chunk_rows(table, 3)
    assert rows.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4], [4, 4, 4], [5, 6, 7], [6, 7, 7], [7, 7, 7]]
    assert build_chunks(table, 3, SLOTS).future_row.tolist() == [2, 3, 4, 4, 4, 7, 7, 7]


def test_chunk_actions_lead_from_the_reference_to_the_absolute_targets(table):
    chunks = build_chunks(table, 3, SLOTS)
    assert chunks.actions.shape == (8, 3, 7)
    targets = absolute_from_relative(chunks.actions[1], table.reference[1], SLOTS)
    np.testing.assert_allclose(targets, table.target[[1, 2, 3]], atol=1e-6)


def test_arms_side_by_side_are_the_arms_one_by_one(table):
    other = FrameTable(-table.state, table.reference[::-1].copy(), table.target[::-1].copy(), table.episode)
    columns = [np.concatenate([getattr(one, name) for one in (table, other)], axis=1) for name in ("state", "reference", "target")]
    both = build_chunks(FrameTable(*columns, table.episode), 3, SLOTS)
    alone = [build_chunks(one, 3, SLOTS) for one in (table, other)]
    np.testing.assert_array_equal(both.actions, np.concatenate([one.actions for one in alone], axis=-1))
    entry = dataset_statistics(both, 2, "x1", SLOTS)["x1"]
    entries = [dataset_statistics(one, 2, "x1", SLOTS)["x1"] for one in alone]
    for name in ("min", "max", "q01", "mask"):
        assert entry["action"][name] == entries[0]["action"][name] + entries[1]["action"][name]
    assert len(entry["state"]["mean"]) == 20


def test_starts_are_counted_per_episode(table):
    assert start_rows(table.episode, 2).tolist() == [0, 2, 4, 5, 7]
    assert start_rows(table.episode, 1).tolist() == list(range(8))


def test_statistics_name_everything_and_give_symmetric_ranges(table):
    entry = dataset_statistics(build_chunks(table, 3, SLOTS), 2, "franka", SLOTS)["franka"]
    assert entry["num_transitions"] == 8 and entry["num_trajectories"] == 2
    assert set(entry["action"]) == {"mean", "std", "min", "max", "q01", "q99", "mask"}
    assert {len(vector) for vector in entry["action"].values()} == {7} and {len(v) for v in entry["state"].values()} == {10}
    low, high = np.array(entry["action"]["min"]), np.array(entry["action"]["max"])
    np.testing.assert_allclose(low[:6], -high[:6])
    # Nothing turns here: the rotation keeps its smallest range instead of blowing up zeros.
    np.testing.assert_allclose(high[3:6], SMALLEST_HALF_RANGE["rotvec_chunk_relative"])
    assert np.all(high[:3] > SMALLEST_HALF_RANGE["translation_chunk_relative"])
    np.testing.assert_allclose([low[6], high[6]], [table.target[:, 7].min(), table.target[:, 7].max()], atol=1e-6)


def test_normalisation_is_unclipped_and_has_an_inverse():
    statistics = {"min": [-1.0, 0.0, 2.0], "max": [1.0, 4.0, 2.0]}
    values = np.array([[2.0, 4.0, 7.0]])
    assert normalise(values, statistics).tolist() == [[2.0, 1.0, 0.0]]
    np.testing.assert_allclose(denormalise(normalise(values, statistics), statistics), [[2.0, 4.0, 2.0]])


def test_padding_fills_with_zeros_and_refuses_what_is_too_wide():
    assert pad_last(np.ones((2, 3), np.float32), 5).tolist() == [[1, 1, 1, 0, 0]] * 2
    with pytest.raises(ValueError, match="at most 2 dimensions, got 3"):
        pad_last(np.ones((2, 3), np.float32), 2)


def test_cache_goes_on_after_a_kill_and_is_remade_for_other_data(tmp_path):
    pictures = [
        np.random.default_rng(episode).integers(0, 255, (length, 32, 32, 3), dtype=np.uint8) for episode, length in enumerate(LENGTHS)
    ]
    rows = CachedRows(np.array([0, 2, 4, 5, 7]), np.array([0, 2, 3, 4, 5, 7]))
    loaded: list[int] = []

    def episodes(stop_before: int = 99):
        for number, first in enumerate((0, LENGTHS[0])):

            def load(number: int = number):
                if number >= stop_before:
                    raise KeyboardInterrupt
                loaded.append(number)
                return [pictures[number], 255 - pictures[number]]

            yield first, load

    def encode(frames: torch.Tensor) -> torch.Tensor:
        return frames.float().mean(dim=(2, 3))[:, None]

    def build(identity: int, stop_before: int = 99):
        return build_cache(tmp_path, rows, episodes(stop_before), encode, {"made": identity}, 32, lambda done: None)

    with pytest.raises(KeyboardInterrupt):
        build(1, stop_before=1)
    cache = build(1)
    assert loaded == [0, 1]
    frames = np.concatenate(pictures)
    np.testing.assert_array_equal(cache.images[:, 0], frames[rows.pictures].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(cache.images[:, 1], 255 - frames[rows.pictures].transpose(0, 3, 1, 2))
    np.testing.assert_allclose(cache.features_at(np.array([7, 3]))[:, 0], frames[[7, 3]].mean(axis=(1, 2)), atol=0.1)
    with pytest.raises(ValueError, match="not cached"):
        cache.features_at(np.array([1]))
    build(1)
    assert loaded == [0, 1]
    build(2)
    assert loaded == [0, 1, 0, 1]
