"""Change map, progress and the pair of principal component pictures."""

import numpy as np
import pytest

from lawam_ros.viz.change import ChangeMap
from lawam_ros.viz.pca import colours, fit_basis, pca_pair
from lawam_ros.viz.progress import SubgoalProgress

RNG = np.random.default_rng(3)
NOW = RNG.normal(size=(12, 8)).astype(np.float32)
BLOB = np.zeros((12, 8), np.float32)
BLOB[7] = 2.0
GRID = (3, 4)


def test_the_raw_map_is_the_length_of_the_change():
    step = np.zeros((12, 8), np.float32)
    step[5, 2] = 3.0
    values = ChangeMap().map(NOW, NOW + step, GRID, remove_bias=False)
    assert values.shape == GRID and values.dtype == np.float32
    typical = np.linalg.norm(NOW, axis=1).mean()
    np.testing.assert_allclose(values[1, 1], 3.0 / typical, rtol=1e-5)
    assert np.count_nonzero(values > 1e-6) == 1


def test_a_blob_that_is_always_there_is_taken_out():
    change = ChangeMap()
    for moving in range(12):
        step = np.zeros((12, 8), np.float32)
        step[moving] = 1.0
        change.update(NOW, NOW + BLOB + step)
    step = np.zeros((12, 8), np.float32)
    step[2] = 1.0
    raw, clean = (change.map(NOW, NOW + BLOB + step, GRID, remove) for remove in (False, True))
    assert raw.argmax() == 7
    assert clean.argmax() == 2 and clean.flat[7] < 0.2 * raw.flat[7]


def test_nothing_is_removed_before_it_is_known():
    change = ChangeMap()
    for count in range(5):
        assert not change.bias_known
        np.testing.assert_array_equal(*(change.map(NOW, NOW + BLOB, GRID, remove) for remove in (False, True)))
        change.update(NOW, NOW + BLOB)
        assert count < 5
    assert change.bias_known
    change.update(NOW[:4], NOW[:4])
    assert not change.bias_known


def test_the_mean_forgets_what_is_long_over():
    change = ChangeMap()
    for _ in range(10):
        change.update(NOW, NOW + BLOB)
    for _ in range(300):
        change.update(NOW, NOW)
    assert change.map(NOW, NOW, GRID, remove_bias=True).max() < 0.01


def test_the_distance_falls_from_one_to_zero_within_a_chunk():
    progress, foreseen = SubgoalProgress(1.2), RNG.normal(size=NOW.shape).astype(np.float32)
    seen = [progress.update(round(k * 0.4e9), NOW + k / 3 * foreseen, NOW + foreseen) for k in range(4)]
    np.testing.assert_allclose(seen, [1.0, 2 / 3, 1 / 3, 0.0], atol=1e-5)


def test_the_next_subgoal_comes_into_force_when_the_first_is_due():
    progress, step = SubgoalProgress(0.8), np.ones_like(NOW)
    assert progress.update(0, NOW, NOW + step) == 1.0
    assert progress.update(400_000_000, NOW, NOW + 5 * step) == pytest.approx(1.0)
    assert progress.update(800_000_000, NOW + step, NOW + 3 * step) == pytest.approx(0.0, abs=1e-5)
    assert progress.update(1_200_000_000, NOW + 2 * step, NOW) == pytest.approx(0.5, abs=1e-5)


def test_change_in_other_directions_is_no_progress():
    progress = SubgoalProgress(1.2)
    foreseen, other = np.zeros_like(NOW), np.zeros_like(NOW)
    foreseen[0], other[1] = 1.0, 5.0
    progress.update(0, NOW, NOW + foreseen)
    assert progress.update(100, NOW + other, NOW) == pytest.approx(1.0, abs=1e-5)


def test_a_policy_slower_than_its_horizon_is_measured_when_it_looks_again():
    progress, step = SubgoalProgress(1.2), np.ones_like(NOW)
    progress.update(0, NOW, NOW + step)
    assert progress.update(3_000_000_000, NOW + 0.75 * step, NOW + 2 * step) == pytest.approx(0.25, abs=1e-5)
    assert progress.update(6_000_000_000, NOW + 2 * step, NOW) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("stamp_ns", [0, -5])
def test_a_clock_that_goes_back_starts_anew(stamp_ns):
    progress = SubgoalProgress(1.2)
    progress.update(0, NOW, NOW + 1.0)
    assert progress.update(stamp_ns, NOW + 0.5, NOW) == 1.0
    assert progress.update(stamp_ns + 100, NOW + 0.5, NOW) == pytest.approx(1.0)


def test_forgotten_and_foreign_subgoals_start_anew():
    progress = SubgoalProgress(1.2)
    progress.update(0, NOW, NOW + 1.0)
    assert progress.update(100, NOW[:4], NOW[:4]) == 1.0
    progress.forget()
    assert progress.update(200, NOW[:4] + 1.0, NOW[:4]) == 1.0


def test_present_and_prediction_share_their_colours():
    basis = fit_basis(NOW)
    picture = pca_pair(NOW, NOW + BLOB, basis, GRID, (30, 40))
    assert picture.shape == (30, 80, 3)
    np.testing.assert_array_equal(picture[5::10, 5:40:10], colours(NOW, basis, GRID))
    np.testing.assert_array_equal(picture[5::10, 45::10], colours(NOW + BLOB, basis, GRID))
    differs = (picture[:, :40] != picture[:, 40:]).any(axis=2)
    assert differs[10:20, 30:].any() and not differs[:10].any()
