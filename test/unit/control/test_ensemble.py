"""The action ensemble: its rule on numbers one can follow, and the official implementation's recordings."""

import numpy as np
import pytest
from golden import golden_folders

from lawam_ros.cli.parity_ensemble import compare_ensemble
from lawam_ros.control.ensemble import EnsembleRules, blend, ensemble
from lawam_ros.model.parity import read_case


@pytest.mark.parametrize("folder", golden_folders("cases/ensemble.json"), ids=lambda path: path.name)
def test_ensemble_equals_the_golden_one(folder):
    case = read_case(folder, "ensemble")
    rows = compare_ensemble(case)
    assert [row for row in rows if not row.ok] == []
    assert len(rows) == len(case.settings["cases"]) > 0


def test_without_alpha_it_is_the_mean_of_what_covers_the_step():
    old, new = np.array([[0.0], [1.0], [2.0]]), np.array([[5.0], [6.0]])
    np.testing.assert_allclose(ensemble([old, new], [0, 2], 1, 3, EnsembleRules()), [[1.0], [3.5], [6.0]])


def test_alpha_prefers_what_resembles_the_newest():
    predictions = np.array([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    weights = np.exp([-2.0, 0.0, 2.0])
    expected = weights @ predictions / weights.sum()
    np.testing.assert_allclose(blend(predictions, EnsembleRules(alpha=2.0)), expected, atol=1e-6)


def test_binary_dimensions_and_quaternions_are_mended_after_blending():
    predictions = np.array([[1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]])
    rules = EnsembleRules(binary_dims=(0,), quaternions=((1, 2, 3, 4),))
    np.testing.assert_allclose(blend(predictions, rules), [1.0, 0.5**0.5, 0.5**0.5, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(blend(np.zeros((1, 5)), rules), [0.0, 1.0, 0.0, 0.0, 0.0])


def test_inputs_stay_as_they_are():
    chunk = np.full((2, 5), 0.7)
    ensemble([chunk], [0], 0, 2, EnsembleRules(binary_dims=(0,), quaternions=((1, 2, 3, 4),)))
    assert np.all(chunk == 0.7)


def test_a_step_that_no_chunk_covers_is_named():
    with pytest.raises(ValueError, match="covers step 4, got chunks for steps 0 to 1, 2 to 3"):
        ensemble([np.zeros((2, 1)), np.zeros((2, 1))], [0, 2], 3, 2, EnsembleRules())
