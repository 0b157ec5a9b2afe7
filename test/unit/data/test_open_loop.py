"""Errors of chunks against what came: values by hand, whatever the sign of a quaternion, and arms that stand."""

import numpy as np
import pytest

from lawam_ros.contract.rotations import quat_from_rotvec, quat_multiply
from lawam_ros.data.open_loop import ComparedChunk, component_errors, errors_table, is_finite, position_better

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
TIMES_S = np.array([0.1, 0.2])


def row(x=0.4, y=0.0, z=0.3, turn_z=0.0, gripper=0.08):
    quat = quat_multiply(quat_from_rotvec(np.array([0.0, 0.0, turn_z])), DOWN)
    return np.array([x, y, z, *quat, gripper])


def chunk(predicted, truth, arms=("arm",)):
    every = {"start": row(), "predicted": np.array(predicted), "truth": np.array(truth)}
    return ComparedChunk(0, TIMES_S, *(dict.fromkeys(arms, values) for values in every.values()))


def by_name(chunks):
    return {error.name: error for error in component_errors(chunks)}


def test_errors_are_means_over_chunks_at_each_step():
    truth = [row(x=0.41), row(x=0.42, turn_z=0.2, gripper=0.0)]
    found = by_name([chunk([row(x=0.413), row(x=0.424)], truth), chunk(truth, truth)])
    np.testing.assert_allclose(found["arm/x"].error, [0.0015, 0.002])
    np.testing.assert_allclose(found["arm/x"].staying, [0.01, 0.02])
    assert found["arm/x"].better == pytest.approx(1.0 - 0.00175 / 0.015)
    np.testing.assert_allclose(found["arm/rz"].error, [0.0, 0.1], atol=1e-9)
    np.testing.assert_allclose(found["arm/gripper"].error, [0.0, 0.04])
    np.testing.assert_allclose(found["arm/position"].staying, [0.01, 0.02])
    assert found["arm/y"].better is None, "the arm did not move that way"


def test_the_sign_of_a_quaternion_is_no_error():
    there = row(x=0.45, turn_z=0.3)
    turned = there.copy()
    turned[3:7] *= -1.0
    found = by_name([chunk([turned, turned], [there, there])])
    assert all(error.error.max() < 1e-9 for error in found.values())


def test_position_counts_all_arms_together_and_standing_ones_say_nothing():
    truth = [row(x=0.42), row(x=0.44)]
    errors = component_errors([chunk([row(), row()], truth, ("left", "right"))])
    assert [error.name for error in errors if error.name.endswith("position")] == ["left/position", "right/position"]
    assert position_better(errors) == pytest.approx(0.0)
    standing = component_errors([chunk([row(), row()], [row(), row()])])
    assert position_better(standing) is None
    assert errors_table(standing, TIMES_S).splitlines()[-1].endswith("-")


def test_a_chunk_with_a_number_that_is_none_is_told_from_others():
    good = [row(), row()]
    assert is_finite(chunk(good, good)) and not is_finite(chunk([row(), row(z=np.nan)], good))
