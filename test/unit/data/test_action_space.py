"""Absolute targets and policy vectors describe the same motion."""

import itertools

import numpy as np
import pytest

from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import matrix_from_quat, quat_from_rotvec, quat_normalise
from lawam_ros.contract.task import ACTION_SLOTS, STATE_SLOTS
from lawam_ros.data.action_space import (
    absolute_from_relative,
    absolute_row,
    action_width,
    relative_from_absolute,
    state_vector,
    state_width,
)

SLOTS = tuple(ACTION_SLOTS)
DOWN_XYZW = np.array([1.0, 0.0, 0.0, 0.0])  # a gripper that points down: roll = pi, where rpy and rotation vectors are singular


def random_rows(rng: np.random.Generator, count: int) -> np.ndarray:
    quats = quat_normalise(rng.normal(size=(count, 4)))
    return np.concatenate([rng.uniform(-0.5, 0.5, (count, 3)), quats, rng.uniform(0.0, 0.08, (count, 1))], axis=1)


def assert_same_rows(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual[:, [0, 1, 2, 7]], expected[:, [0, 1, 2, 7]], atol=1e-12)
    np.testing.assert_allclose(matrix_from_quat(actual[:, 3:7]), matrix_from_quat(expected[:, 3:7]), atol=1e-9)


@pytest.mark.parametrize("slots", list(itertools.permutations(SLOTS)))
def test_round_trip_in_every_order(slots):
    rng = np.random.default_rng(1)
    rows, reference = random_rows(rng, 24), random_rows(rng, 1)[0]
    relative = relative_from_absolute(rows, reference, slots)
    assert relative.shape == (24, action_width(slots))
    assert_same_rows(absolute_from_relative(relative, reference, slots), rows)


def test_translation_is_in_the_base_frame_and_rotation_applies_on_the_left():
    reference = np.concatenate([[0.4, 0.1, 0.3], DOWN_XYZW, [0.08]])
    quarter_turn_about_base_z = np.array([[0.0, 0.05, 0.0, 0.0, 0.0, np.pi / 2, 0.02]])
    target = absolute_from_relative(quarter_turn_about_base_z, reference, SLOTS)[0]
    np.testing.assert_allclose(target[:3], [0.4, 0.15, 0.3])
    rotation_z = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(matrix_from_quat(target[3:7]), rotation_z @ matrix_from_quat(DOWN_XYZW), atol=1e-12)
    assert target[7] == 0.02


def test_the_reference_itself_is_zero_motion():
    reference = random_rows(np.random.default_rng(2), 1)[0]
    relative = relative_from_absolute(reference[None], reference, SLOTS)[0]
    np.testing.assert_allclose(relative, [0, 0, 0, 0, 0, 0, reference[7]], atol=1e-9)


def test_sign_of_a_quaternion_does_not_matter():
    rng = np.random.default_rng(3)
    rows, reference = random_rows(rng, 5), random_rows(rng, 1)[0]
    flipped = rows * np.array([1, 1, 1, -1, -1, -1, -1, 1])
    np.testing.assert_allclose(relative_from_absolute(flipped, reference, SLOTS), relative_from_absolute(rows, reference, SLOTS), atol=1e-9)


def test_small_turns_give_neighbouring_quaternions_of_one_sign():
    reference = np.concatenate([np.zeros(3), DOWN_XYZW, [0.0]])
    actions = np.zeros((24, 7))
    actions[:, 5] = np.linspace(-0.5, 0.5, 24)
    quats = absolute_from_relative(actions, reference, SLOTS)[:, 3:7]
    assert np.all(np.sum(quats[1:] * quats[:-1], axis=1) > 0.99)


def test_absent_slots_keep_the_reference():
    reference = random_rows(np.random.default_rng(4), 1)[0]
    target = absolute_from_relative(np.array([[0.1, 0.0, 0.0]]), reference, ("translation_chunk_relative",))[0]
    np.testing.assert_allclose(target, reference + np.array([0.1, 0, 0, 0, 0, 0, 0, 0]))


def test_state_vector_holds_position_two_matrix_columns_and_opening():
    quat = quat_from_rotvec(np.array([0.2, -0.4, 1.0]))
    state = state_vector(Pose(np.array([0.5, -0.1, 0.2]), quat), 0.03, tuple(STATE_SLOTS))
    assert state.shape == (state_width(tuple(STATE_SLOTS)),) == (10,)
    matrix = matrix_from_quat(quat)
    np.testing.assert_allclose(state, [0.5, -0.1, 0.2, *matrix[:, 0], *matrix[:, 1], 0.03])
    assert state_vector(Pose(np.zeros(3), quat), 0.03, ("gripper",)).tolist() == [0.03]


def test_absolute_row_is_pose_then_opening():
    row = absolute_row(Pose(np.array([1.0, 2.0, 3.0]), DOWN_XYZW), 0.04)
    assert row.tolist() == [1.0, 2.0, 3.0, 1.0, 0.0, 0.0, 0.0, 0.04]


@pytest.mark.parametrize("shape", [(7,), (24, 6), (0,)])
def test_wrong_shapes_are_named(shape):
    reference = np.concatenate([np.zeros(3), DOWN_XYZW, [0.0]])
    with pytest.raises(ValueError, match=r"expected actions of shape \(N, 7\)"):
        absolute_from_relative(np.zeros(shape), reference, SLOTS)
    with pytest.raises(ValueError, match="expected targets"):
        relative_from_absolute(np.zeros(shape), reference, SLOTS)
