import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lawam_ros.contract import rotations
from lawam_ros.control import scalar_rotations as scalar
from lawam_ros.control.splice import make_seam, seam_rates, shortest_seams
from lawam_ros.control.spline import CubicSpline

FINITE = st.floats(-2.0, 2.0)


def quats(n, seed):
    return rotations.quat_normalise(np.random.default_rng(seed).normal(size=(n, 4)))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 24, 512])
def test_spline_meets_waypoints_with_continuous_derivatives(n):
    rng = np.random.default_rng(n)
    times = np.cumsum(rng.uniform(0.02, 0.1, n))
    points = rng.normal(size=(n, 3))
    spline = CubicSpline.through(times, points)
    for i in range(n):
        np.testing.assert_allclose(spline.sample(times[i])[0], points[i], atol=1e-9)
        before, after = spline.sample(times[i] - 1e-9), spline.sample(times[i] + 1e-9)
        scale = np.abs(points).max() / 0.02
        np.testing.assert_allclose(before[1], after[1], atol=1e-4 * scale)
        if 0 < i < n - 1:
            np.testing.assert_allclose(before[2], after[2], atol=1e-3 * scale / 0.02)
    if n > 1:
        np.testing.assert_allclose(spline.sample(times[-1])[1], (points[-1] - points[-2]) / (times[-1] - times[-2]), atol=1e-9)
        many, rates = spline.sample_many(np.linspace(times[0] - 0.1, times[-1] + 0.1, 50))
        one = [spline.sample(t) for t in np.linspace(times[0] - 0.1, times[-1] + 0.1, 50)]
        np.testing.assert_allclose(many, [o[0] for o in one], atol=1e-9)
        np.testing.assert_allclose(rates, [o[1] for o in one], atol=1e-9)


def test_spline_of_a_line_is_the_line_and_goes_on_outside():
    spline = CubicSpline.through(np.arange(5) / 20, np.outer(np.arange(5) / 20, [1.0, -2.0]))
    for t in (-0.3, 0.0, 0.07, 0.2, 0.5):
        value, rate, bend = spline.sample(t)
        np.testing.assert_allclose(value, [t, -2 * t], atol=1e-12)
        np.testing.assert_allclose(rate, [1, -2], atol=1e-12)
        np.testing.assert_allclose(bend, 0, atol=1e-9)


def test_spline_derivatives_are_derivatives():
    spline = CubicSpline.through(np.arange(8) / 20, np.random.default_rng(3).normal(size=(8, 2)))
    h = 1e-6
    for t in (0.013, 0.06, 0.21, 0.34):
        up, down, mid = (np.array(spline.sample(at)) for at in (t + h, t - h, t))
        np.testing.assert_allclose((up[0] - down[0]) / (2 * h), mid[1], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose((up[1] - down[1]) / (2 * h), mid[2], rtol=1e-5, atol=1e-3)


def test_columns_of_a_spline_are_the_splines_of_the_columns():
    times, points = np.arange(9) / 20, np.random.default_rng(5).normal(size=(9, 7))
    part, alone = CubicSpline.through(times, points).columns(3, 7), CubicSpline.through(times, points[:, 3:])
    for t in (-0.1, 0.0, 0.113, 0.3, 0.4, 0.7):
        assert part.sample(t) == alone.sample(t)


def test_spline_refuses_times_that_do_not_rise():
    with pytest.raises(ValueError, match="increasing"):
        CubicSpline.through(np.array([0.0, 0.1, 0.1]), np.zeros((3, 1)))


@given(e0=FINITE, e1=FINITE, e2=FINITE, duration=st.floats(0.05, 2.0))
def test_seam_starts_as_given_and_fades_with_three_zeros(e0, e1, e2, duration):
    seam = make_seam(1.0, duration, *(np.array([x]) for x in (e0, e1, e2)))
    np.testing.assert_allclose(np.concatenate(seam.sample(1.0)), [e0, e1, e2], atol=1e-9)
    last = np.concatenate(seam.sample(1.0 + duration * (1 - 1e-9)))
    np.testing.assert_allclose(last, 0, atol=1e-4)
    assert seam.sample(1.0 + duration * 1.0001) is None


def test_seam_is_as_short_as_its_limits_allow():
    offsets = np.outer([0.001, 0.01, 0.1], [1.0, 0.0, 0.0])
    seams = shortest_seams(0.0, offsets, np.zeros((3, 3)), np.zeros((3, 3)), [(0.5, 1.5)] * 3)
    assert seams[0].duration_s < seams[1].duration_s < seams[2].duration_s
    for seam in seams:
        samples = [seam.sample(t) for t in np.linspace(0, seam.duration_s * 0.999, 200)]
        assert max(np.linalg.norm(s[1]) for s in samples) <= 0.5 * 1.01
        assert max(np.linalg.norm(s[2]) for s in samples) <= 1.5 * 1.01


def test_seams_chosen_together_are_those_chosen_alone():
    rng = np.random.default_rng(4)
    offsets, rates, curvatures = rng.normal(size=(3, 4, 3)) * [[[0.02]], [[0.2]], [[2.0]]]
    limits = [(0.1, 0.5), (0.5, 1.0), (1.0, 4.0), (2.0, 9.0)]
    together = shortest_seams(0.3, offsets, rates, curvatures, limits)
    assert len({seam.duration_s for seam in together}) > 1
    times = np.linspace(0.3, 2.2, 9)
    for k, seam in enumerate(together):
        alone = shortest_seams(0.3, offsets[k : k + 1], rates[k : k + 1], curvatures[k : k + 1], limits[k : k + 1])[0]
        assert alone.duration_s == seam.duration_s
        np.testing.assert_array_equal(alone.coefficients, seam.coefficients)
        sampled = [seam.sample(t) or [np.zeros(3)] * 3 for t in times.tolist()]
        np.testing.assert_allclose(seam_rates(together, times)[k], [rate for _, rate, _ in sampled], atol=1e-12)


def test_scalar_rotations_agree_with_the_contracts():
    a, b = quats(50, 1), quats(50, 2)
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(scalar.multiply(p, q), rotations.quat_multiply(p, q), atol=1e-12)
        np.testing.assert_allclose(scalar.to_rotvec(p), rotations.rotvec_from_quat(p), atol=1e-12)
        np.testing.assert_allclose(scalar.from_rotvec(3 * p[:3]), rotations.quat_from_rotvec(3 * p[:3]), atol=1e-12)
        np.testing.assert_allclose(scalar.rotate(p, q[:3]), rotations.matrix_from_quat(p) @ q[:3], atol=1e-12)
        np.testing.assert_allclose(
            scalar.from_matrix(rotations.matrix_from_quat(p)), rotations.quat_from_matrix(rotations.matrix_from_quat(p)), atol=1e-9
        )
    np.testing.assert_allclose(scalar.from_rotvec((1e-8, 0, 0)), [5e-9, 0, 0, 1], atol=1e-15)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 12))
def test_tracks_turn_smoothly_on_the_sphere(seed, n):
    from lawam_ros.control.timeline import ArmTrack

    times, turns = np.arange(n) / 20, quats(n, seed)
    track = ArmTrack(times, np.zeros((n, 3)), turns, np.zeros(n))
    for i in range(n):
        assert abs(np.dot(track.state(times[i]).quat_xyzw, turns[i])) == pytest.approx(1.0, abs=1e-9)
    h = 1e-6
    for t in np.linspace(0.001, times[-1] + 0.01, 7):
        state = track.state(t)
        assert np.linalg.norm(state.quat_xyzw) == pytest.approx(1.0, abs=1e-12)
        spin = np.array(scalar.difference(track.state(t + h).quat_xyzw, track.state(t - h).quat_xyzw)) / (2 * h)
        np.testing.assert_allclose(state.angular_velocity_rad_s, spin, rtol=1e-3, atol=1e-2)
        _, speed = track.velocities(np.array([t]))
        assert speed[0] == pytest.approx(np.linalg.norm(state.angular_velocity_rad_s), rel=1e-6, abs=1e-9)
