"""Rotations against test vectors computed by hand or with other libraries, and round trips over the whole group."""

import math

import numpy as np
import pytest
import transforms3d
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lawam_ros.contract import rotations as rot

VECTORS = [
    ((0.3, -0.4, 0.5), (0.190505913, -0.154097076, 0.268515470, 0.931590592)),
    ((3.0, -0.2, 1.0), (0.874396604, 0.469638008, 0.121136392, 0.014024812)),
    ((math.pi, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),
    ((-math.pi, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),
    ((0.0, math.pi / 2, 0.0), (0.0, 0.70710678, 0.0, 0.70710678)),
]
"""roll, pitch, yaw with R = Rz(yaw) Ry(pitch) Rx(roll), and the quaternion in ROS order."""

components = st.floats(-1.0, 1.0, allow_subnormal=False)
quats = hnp.arrays(float, 4, elements=components).filter(lambda q: np.linalg.norm(q) > 1e-2).map(lambda q: q / np.linalg.norm(q))
rotvecs = (
    st.tuples(quats, st.floats(0.0, math.pi - 1e-6))
    .filter(lambda p: np.linalg.norm(p[0][:3]) > 1e-2)
    .map(lambda p: p[0][:3] / np.linalg.norm(p[0][:3]) * p[1])
)


def same_rotation(a: np.ndarray, b: np.ndarray) -> float:
    """1 where two quaternions mean the same rotation."""
    return abs(float(np.dot(a, b)))


def axis_rotation(axis: int, angle: float) -> np.ndarray:
    """Rotation about a coordinate axis, written down from the definition."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = math.cos(angle)
    matrix[i, j], matrix[j, i] = -math.sin(angle), math.sin(angle)
    return matrix


@pytest.mark.parametrize(("rpy", "quat"), VECTORS)
def test_known_quaternions(rpy: tuple[float, float, float], quat: tuple[float, float, float, float]) -> None:
    matrix = axis_rotation(2, rpy[2]) @ axis_rotation(1, rpy[1]) @ axis_rotation(0, rpy[0])
    np.testing.assert_allclose(rot.matrix_from_quat(np.array(quat)), matrix, atol=2e-8)
    assert same_rotation(rot.quat_from_matrix(matrix), np.array(quat)) == pytest.approx(1.0, abs=1e-8)
    parts = [rot.quat_from_rotvec(np.eye(3)[axis] * rpy[axis]) for axis in range(3)]
    assert same_rotation(rot.quat_multiply(parts[2], rot.quat_multiply(parts[1], parts[0])), np.array(quat)) == pytest.approx(1.0, abs=1e-8)


def test_known_matrix() -> None:
    expected = [[0.808307, -0.559006, -0.184803], [0.441580, 0.783214, -0.437702], [0.389418, 0.272192, 0.879923]]
    np.testing.assert_allclose(rot.matrix_from_quat(np.array(VECTORS[0][1])), expected, atol=1e-6)


def test_rotation_6d_is_the_first_two_columns() -> None:
    columns = rot.rotation_6d_from_quat(np.array(VECTORS[0][1]))
    np.testing.assert_allclose(columns, [0.808307, 0.441580, 0.389418, -0.559006, 0.783214, 0.272192], atol=1e-6)


@given(quats)
def test_matrix_and_quaternion_round_trip(quat: np.ndarray) -> None:
    matrix = rot.matrix_from_quat(quat)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    back = rot.quat_from_matrix(matrix)
    assert back[3] >= 0.0
    assert same_rotation(back, quat) == pytest.approx(1.0, abs=1e-12)


@given(rotvecs)
def test_rotation_vector_round_trip(rotvec: np.ndarray) -> None:
    np.testing.assert_allclose(rot.rotvec_from_quat(rot.quat_from_rotvec(rotvec)), rotvec, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-9, 9.9e-7, 1.01e-6, 1.9e-6, 2.1e-6, 1e-5])
def test_small_angles_keep_their_digits(angle: float) -> None:
    rotvec = angle * np.array([0.6, 0.0, -0.8])
    np.testing.assert_allclose(rot.rotvec_from_quat(rot.quat_from_rotvec(rotvec)), rotvec, rtol=1e-9, atol=1e-30)


@given(quats)
def test_rotation_vector_is_the_shorter_way_for_both_signs(quat: np.ndarray) -> None:
    assert np.linalg.norm(rot.rotvec_from_quat(quat)) <= math.pi + 1e-12
    assert same_rotation(rot.quat_from_rotvec(rot.rotvec_from_quat(-quat)), quat) == pytest.approx(1.0, abs=1e-12)


@given(quats, quats)
def test_product_is_the_product_of_matrices(a: np.ndarray, b: np.ndarray) -> None:
    product = rot.matrix_from_quat(rot.quat_multiply(a, b))
    np.testing.assert_allclose(product, rot.matrix_from_quat(a) @ rot.matrix_from_quat(b), atol=1e-12)
    np.testing.assert_allclose(rot.quat_multiply(a, rot.quat_inverse(a)), [0, 0, 0, 1], atol=1e-12)


@given(quats, quats, st.floats(0.0, 1.0))
def test_slerp_ends_and_constant_speed(a: np.ndarray, b: np.ndarray, fraction: float) -> None:
    assert same_rotation(rot.quat_slerp(a, b, 0.0), a) == pytest.approx(1.0, abs=1e-12)
    assert same_rotation(rot.quat_slerp(a, b, 1.0), b) == pytest.approx(1.0, abs=1e-12)
    whole = np.linalg.norm(rot.rotvec_from_quat(rot.quat_multiply(b, rot.quat_inverse(a))))
    part = np.linalg.norm(rot.rotvec_from_quat(rot.quat_multiply(rot.quat_slerp(a, b, fraction), rot.quat_inverse(a))))
    assert part == pytest.approx(fraction * whole, abs=1e-7)


def test_slerp_takes_the_shorter_way_through_opposite_signs() -> None:
    a, b = rot.quat_from_rotvec(np.array([0.0, 0.0, 0.2])), -rot.quat_from_rotvec(np.array([0.0, 0.0, 0.4]))
    np.testing.assert_allclose(rot.rotvec_from_quat(rot.quat_slerp(a, b, 0.5)), [0.0, 0.0, 0.3], atol=1e-12)


@given(hnp.arrays(float, (5, 4), elements=components).filter(lambda q: bool(np.all(np.linalg.norm(q, axis=1) > 1e-2))))
def test_batches_are_the_same_as_one_by_one(raw: np.ndarray) -> None:
    batch = rot.quat_normalise(raw)
    for function in (rot.matrix_from_quat, rot.rotvec_from_quat, rot.rotation_6d_from_quat, rot.quat_inverse):
        np.testing.assert_allclose(function(batch), [function(quat) for quat in batch], atol=1e-14)
    np.testing.assert_allclose(
        rot.quat_from_matrix(rot.matrix_from_quat(batch)), [rot.quat_from_matrix(rot.matrix_from_quat(q)) for q in batch]
    )
    fractions = np.linspace(0.0, 1.0, 5)
    np.testing.assert_allclose(
        rot.quat_slerp(batch, batch[::-1], fractions),
        [rot.quat_slerp(a, b, f) for a, b, f in zip(batch, batch[::-1], fractions, strict=True)],
        atol=1e-12,
    )


@given(st.lists(quats, min_size=2, max_size=8))
def test_signs_are_made_continuous_without_changing_rotations(sequence: list[np.ndarray]) -> None:
    given_quats = np.array(sequence)
    before = given_quats.copy()
    smooth = rot.quat_make_continuous(given_quats)
    np.testing.assert_array_equal(given_quats, before)
    assert np.all(np.sum(smooth[1:] * smooth[:-1], axis=1) >= 0.0)
    np.testing.assert_array_equal(np.abs(smooth), np.abs(given_quats))
    np.testing.assert_array_equal(smooth[0], given_quats[0])


@given(hnp.arrays(float, 3, elements=components), hnp.arrays(float, 3, elements=components))
def test_skew_is_the_cross_product(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(rot.skew(a) @ b, np.cross(a, b), atol=1e-15)


@pytest.mark.parametrize("quat", [[0.0, 0.0, 0.0, 0.0], [math.nan, 0.0, 0.0, 1.0], [math.inf, 0.0, 0.0, 1.0]])
def test_no_direction_is_refused(quat: list[float]) -> None:
    with pytest.raises(ValueError, match="expected a quaternion of non-zero finite length"):
        rot.quat_normalise(np.array(quat))


def test_conversions_agree_with_transforms3d() -> None:
    """An independent library, with quaternions in (w, x, y, z)."""
    random = np.random.default_rng(3)
    for _ in range(200):
        quat = rot.quat_normalise(random.normal(size=4))
        wxyz = quat[[3, 0, 1, 2]]
        matrix = transforms3d.quaternions.quat2mat(wxyz)
        np.testing.assert_allclose(rot.matrix_from_quat(quat), matrix, atol=1e-12)
        np.testing.assert_allclose(rot.matrix_from_quat(rot.quat_from_matrix(matrix)), matrix, atol=1e-12)
        axis, angle = transforms3d.quaternions.quat2axangle(wxyz if wxyz[0] >= 0 else -wxyz)
        np.testing.assert_allclose(rot.rotvec_from_quat(quat), axis * angle, atol=1e-9)


@pytest.mark.parametrize(("rpy", "quat"), VECTORS)
def test_roll_pitch_yaw_of_the_vectors(rpy, quat):
    made = rot.quat_from_rpy(np.array(rpy))
    assert abs(np.dot(made, quat)) == pytest.approx(1.0, abs=1e-8)
    assert abs(np.dot(rot.quat_from_rpy(rot.rpy_from_quat(made)), made)) == pytest.approx(1.0, abs=1e-12)


@given(quats)
def test_roll_pitch_yaw_agree_with_transforms3d_and_come_back(quat):
    rpy = rot.rpy_from_quat(quat)
    assert abs(np.dot(rot.quat_from_rpy(rpy), quat)) == pytest.approx(1.0, abs=1e-9)
    if abs(abs(rpy[1]) - math.pi / 2) > 1e-3:
        np.testing.assert_allclose(rpy, transforms3d.euler.quat2euler(np.roll(quat, 1), "sxyz"), atol=1e-6)


def test_the_nearest_roll_pitch_yaw_goes_on_over_the_wrap_and_the_pole():
    near = rot.rpy_nearest(np.array([-math.pi + 0.1, 0.0, 0.3]), np.array([math.pi - 0.1, 0.0, 0.2]))
    np.testing.assert_allclose(near, [math.pi + 0.1, 0.0, 0.3])
    reference = np.array([0.1, math.pi / 2 + 0.1, 0.2])
    quat = rot.quat_from_rpy(reference)
    np.testing.assert_allclose(rot.rpy_nearest(rot.rpy_from_quat(quat), reference), reference, atol=1e-9)
