"""Derivatives of rotation vectors against numeric differentiation, and seams of rotations a radian apart."""

import numpy as np
import pytest

from lawam_ros.contract.rotations import quat_from_rotvec, quat_inverse, quat_multiply, rotvec_from_quat
from lawam_ros.control import so3
from lawam_ros.control.timeline import ArmTrack, TcpState, splice


def spin_of(quat, h=1e-4):
    """Angular velocity and acceleration at time 0 of a quaternion-valued course, by central differences of fourth order."""

    def velocity(t):
        def turn(a, b):
            return rotvec_from_quat(quat_multiply(quat(t + a), quat_inverse(quat(t + b))))

        return (8.0 * turn(h, -h) - turn(2 * h, -2 * h)) / (12.0 * h)

    steps = np.array([velocity(k * 10 * h) for k in (-2, -1, 1, 2)])
    return velocity(0.0), np.array([1.0, -8.0, 8.0, -1.0]) @ steps / (12.0 * 10 * h)


@pytest.mark.parametrize("size", [0.0, 1e-6, 0.005, 0.0101, 0.3, 1.0, 2.5, 3.0])
def test_angular_velocity_and_acceleration_are_derivatives(size):
    rng = np.random.default_rng(5)
    for _ in range(5):
        r, rate, curvature = rng.normal(size=(3, 3))
        r *= size / np.linalg.norm(r)
        velocity, acceleration = spin_of(lambda t, r=r, v=rate, a=curvature: quat_from_rotvec(r + v * t + 0.5 * a * t * t))
        np.testing.assert_allclose(so3.angular_velocity(r, rate), velocity, atol=1e-7)
        np.testing.assert_allclose(so3.angular_acceleration(r, rate, curvature), acceleration, atol=3e-5)


@pytest.mark.parametrize("size", [0.0, 1e-6, 0.005, 0.0101, 0.3, 1.0, 2.5, 3.0])
def test_rates_come_back_from_angular_velocity_and_acceleration(size):
    rng = np.random.default_rng(6)
    r, rate, curvature = rng.normal(size=(3, 3))
    r *= size / np.linalg.norm(r)
    np.testing.assert_allclose(so3.rotvec_rate(r, so3.angular_velocity(r, rate)), rate, atol=1e-9)
    acceleration = so3.angular_acceleration(r, rate, curvature)
    np.testing.assert_allclose(so3.rotvec_curvature(r, rate, acceleration), curvature, atol=1e-9)


def random_track(rng):
    turns, places = np.cumsum(rng.normal(size=(2, 30, 3)) * [[[0.08]], [[0.01]]], axis=1)
    return ArmTrack((np.arange(30) - 10) / 20, places, quat_from_rotvec(turns), np.full(30, 0.08))


def test_a_track_knows_its_angular_acceleration():
    rng = np.random.default_rng(8)
    track = random_track(rng)
    for t in rng.uniform(0.0, 0.9, 10):
        state = track.state(t)
        velocity, acceleration = spin_of(lambda s, t=t: np.array(track.state(t + s).quat_xyzw), h=2e-5)
        np.testing.assert_allclose(state.angular_velocity_rad_s, velocity, atol=1e-5)
        np.testing.assert_allclose(state.angular_acceleration_rad_s2, acceleration, atol=0.05 + 0.02 * np.abs(acceleration).max())


@pytest.mark.parametrize("angle", [0.0, 0.2, 1.0, 2.0])
def test_seams_of_rotations_start_with_the_given_velocity_and_acceleration(contract, angle):
    """A plan that lies ``angle`` away takes over: pose, velocities, accelerations go on; later each is the derivative of the one before."""
    rng, arms = np.random.default_rng(int(10 * angle)), contract.robot.arms
    for _ in range(5):
        track = random_track(rng)
        there, away = track.state(0.0), rng.normal(size=3)
        quat = quat_multiply(quat_from_rotvec(away * angle / np.linalg.norm(away)), np.array(there.quat_xyzw))
        place, velocity, spin, acceleration, spin_up = (tuple((rng.normal(size=3) * scale).tolist()) for scale in (0.1, 0.1, 0.5, 0.5, 2.0))
        here = TcpState(place, tuple(quat.tolist()), velocity, spin, acceleration, spin_up)
        plan = splice({"arm": track}, arms, {"arm": here}, 0.9, 1)
        pace = plan.start()
        start = plan.state("arm", pace)
        assert abs(np.dot(start.quat_xyzw, quat)) == pytest.approx(1.0, abs=1e-12)
        for name in ("position_m", "velocity_m_s", "acceleration_m_s2", "angular_velocity_rad_s", "angular_acceleration_rad_s2"):
            np.testing.assert_allclose(getattr(start, name), getattr(here, name), atol=1e-11, err_msg=name)

        def later(t, plan=plan, pace=pace):
            pace.time_s, pace.seam_time_s, pace.rate = t, t, 1.0
            return plan.state("arm", pace)

        for t in (0.031, 0.17, 0.42):
            state = later(t)
            found = spin_of(lambda s, t=t, later=later: np.array(later(t + s).quat_xyzw), h=2e-5)
            np.testing.assert_allclose(state.angular_velocity_rad_s, found[0], atol=1e-5)
            np.testing.assert_allclose(state.angular_acceleration_rad_s2, found[1], atol=0.1 + 0.02 * np.abs(found[1]).max())


def test_a_pace_that_changes_is_part_of_the_acceleration(contract):
    """While the plan brakes, the target's acceleration is the derivative of its velocity, so that a new plan can take over from it."""
    rng = np.random.default_rng(3)
    track = random_track(rng)
    plan = splice({"arm": track}, contract.robot.arms, {"arm": track.state(0.0)}, 0.9, 1)
    pace, dt, before = plan.start(), 5e-5, None
    worst = share = 0.0
    for k in range(6000):
        pace.advance(dt, 0.0 if k > 2000 else 1.0)
        state = plan.state("arm", pace)
        if before is not None and k not in (2001, 2002):
            slope = np.subtract(state.velocity_m_s, before.velocity_m_s) / dt
            worst = max(worst, float(np.abs(slope - state.acceleration_m_s2).max()))
            share = max(share, float(np.abs(state.velocity_m_s).max()) * abs(pace.rate_per_s))
        before = state
    assert pace.rate < 1.0 and worst < 0.05 < 0.3 < share


def test_wild_chunks_one_upon_the_other_do_not_feed_on_each_other(contract):
    """Each takes over in the middle of the seam before, with the derivatives that it finds there; they must not grow from seam to seam."""
    rng, arms = np.random.default_rng(2), contract.robot.arms
    state, largest = random_track(rng).state(0.0), np.zeros(4)
    for _ in range(300):
        n = int(rng.integers(1, 12))
        track = ArmTrack((np.arange(n) + 1) / 20, rng.normal(size=(n, 3)), quat_from_rotvec(rng.normal(size=(n, 3)) * 3.0), np.zeros(n))
        plan = splice({"arm": track}, arms, {"arm": state}, float(track.start_s) + 0.05 * n, 1)
        pace = plan.start()
        for _ in range(int(rng.integers(0, 15))):
            pace.advance(0.004)
        state = plan.state("arm", pace)
        vectors = (state.velocity_m_s, state.angular_velocity_rad_s, state.acceleration_m_s2, state.angular_acceleration_rad_s2)
        largest = np.maximum(largest, np.linalg.norm(vectors, axis=1))
    assert (largest < [20.0, 60.0, 1000.0, 4000.0]).all(), largest
