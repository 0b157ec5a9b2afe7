"""Projection onto half spaces, and hands that keep off the table and off each other."""

import importlib.util

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control import scalar_rotations
from lawam_ros.control.executor import ChunkExecutor
from lawam_ros.control.kinematics import fixed_transform
from lawam_ros.control.motion import Motion
from lawam_ros.control.projection import by_daqp, by_least_distance, nearest_allowed
from lawam_ros.control.proximity import TABLE_CLEARANCE_M, ProximityFilter
from lawam_ros.control.rehearsal import Rehearsal

DT = 0.004
DOWN = (1.0, 0.0, 0.0, 0.0)


def satisfies_the_optimality_conditions(x, wanted, normals, bounds):
    slack = normals @ x - bounds
    assert slack.min() > -1e-7
    active = normals[slack < 1e-6]
    pull = x - wanted
    if len(active) == 0:
        np.testing.assert_allclose(pull, 0.0, atol=1e-7)
        return
    # The way from what was wanted is a sum of the active normals with weights at or above zero.
    weights = np.linalg.lstsq(active.T, pull, rcond=None)[0]
    np.testing.assert_allclose(active.T @ weights, pull, atol=1e-6)
    if np.linalg.matrix_rank(active) == len(active):
        assert weights.min() > -1e-6


needs_daqp = pytest.mark.skipif(importlib.util.find_spec("daqp") is None, reason="the optional library daqp is not installed")


@pytest.mark.parametrize("solver", [by_least_distance, pytest.param(by_daqp, marks=needs_daqp)])
def test_the_nearest_point_satisfies_the_optimality_conditions(solver):
    rng, solved = np.random.default_rng(1), 0
    for _ in range(200):
        n, m = int(rng.integers(2, 7)), int(rng.integers(1, 30))
        normals, inside = rng.normal(size=(m, n)), rng.normal(size=n)
        bounds = normals @ inside - rng.exponential(0.3, m)
        wanted = inside + rng.normal(size=n) * 2.0
        x = solver(wanted, normals, bounds)
        satisfies_the_optimality_conditions(x, wanted, normals, bounds)
        solved += bool(np.linalg.norm(x - wanted) > 1e-6)
    assert solved > 100


def test_nothing_allowed_is_said_and_what_is_allowed_stays():
    normals, bounds = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, 0.0])
    assert by_least_distance(np.array([0.3, 0.2]), normals, bounds) is None
    wanted = np.array([1.5, 7.0])
    assert nearest_allowed(wanted, normals[:1], bounds[:1]) is wanted
    np.testing.assert_allclose(by_least_distance(np.array([0.3, 0.2]), normals[:1], bounds[:1]), [1.0, 0.2], atol=1e-12)


def test_rows_of_a_quaternion_are_its_matrix():
    for quat in np.random.default_rng(2).normal(size=(20, 4)):
        unit = scalar_rotations.normalise(quat)
        assert abs(np.dot(scalar_rotations.from_rows(scalar_rotations.to_rows(unit)), unit)) == pytest.approx(1.0, abs=1e-12)


@pytest.fixture(scope="module")
def two():
    contract = load_contract("franka_pick_place", "two_pandas", ["task.robots=[two_pandas]"])
    return contract, (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")


def made_filter(two):
    contract, urdf = two
    return ProximityFilter(contract.robot, contract.robot.proximity, urdf, DT)


def test_distances_by_hand(two):
    np.testing.assert_allclose(fixed_transform(two[1], "base", "right_panda_link0")[:3, 3], [0.0, -0.4, 0.0])
    # Hands at the same height, 0.8 m apart, pointing down: the sides' spheres are nearest, 0.14 m nearer, with 0.09 m of radii.
    level = [((0.5, 0.0, 0.9), DOWN), ((0.5, 0.0, 0.9), DOWN)]
    assert made_filter(two).distance_m(level) == pytest.approx(0.8 - 0.14 - 0.09, abs=1e-9)
    low = [((0.5, 0.0, 0.02), DOWN), ((0.5, 0.0, 0.5), DOWN)]
    assert made_filter(two).distance_m(low) == pytest.approx(0.02 + 0.03 - 0.025, abs=1e-9)


def driven(two, start, step, ticks, remembers=True):
    """Targets that go by ``step`` per tick, filtered each tick. remembers: the filter may use what it saw in the tick before."""
    proximity, now, smallest = made_filter(two), start, []
    course = []
    for _ in range(ticks):
        if not remembers:
            proximity._seen = None
        asked = [(tuple(np.add(position, move)), quat) for (position, quat), move in zip(now, step, strict=True)]
        now = proximity.allowed(asked, now)
        smallest.append(proximity.distance_m(now))
        course.append([position for position, _ in now])
    return np.array(course), np.array(smallest), proximity


def test_hands_driven_at_each_other_stop_apart_and_slide_along(two):
    start = [((0.5, 0.0, 0.5), DOWN), ((0.52, 0.0, 0.5), DOWN)]
    course, smallest, proximity = driven(two, start, ((0.0, -0.0015, 0.0001), (0.0, 0.0015, 0.0)), 400)
    assert proximity.hits > 10 and smallest.min() >= 0.02 - 1e-9 and smallest[-1] < 0.03
    # Upwards, which nothing forbids, they go on.
    assert course[-1, 0, 2] > course[300, 0, 2] > course[200, 0, 2] > 0.5


def test_what_was_seen_in_the_tick_before_need_not_be_looked_at_again(two):
    start = [((0.5, 0.0, 0.5), DOWN), ((0.52, 0.0, 0.5), DOWN)]
    step = ((0.0, -0.0015, 0.0001), (0.0, 0.0015, 0.0))
    (course, *_), (looked, *_) = (driven(two, start, step, 300, remembers) for remembers in (True, False))
    np.testing.assert_array_equal(course, looked)


def test_a_hand_driven_at_the_table_stops_above_it_however_it_is_turned(two):
    level = (0.0, 0.7071067811865476, 0.0, 0.7071067811865476)
    start = [((0.5, 0.0, 0.3), level), ((0.5, 0.0, 0.5), DOWN)]
    course, smallest, proximity = driven(two, start, ((0.0005, 0.0, -0.0015), (0.0, 0.0, 0.0)), 400)
    assert smallest.min() >= TABLE_CLEARANCE_M - 1e-9 and smallest[-1] == pytest.approx(TABLE_CLEARANCE_M, abs=1e-3) and proximity.hits > 0
    assert course[-1, 0, 0] > course[200, 0, 0]  # along the table it goes on
    np.testing.assert_array_equal(course[:, 1], course[:1, 1].repeat(400, axis=0))


def test_what_is_too_near_may_part_but_not_come_nearer(two):
    near = [((0.5, -0.32, 0.5), DOWN), ((0.5, 0.32, 0.5), DOWN)]
    assert made_filter(two).distance_m(near) < 0.0
    _, smallest, _ = driven(two, near, ((0.0, -0.001, 0.0), (0.0, 0.0, 0.0)), 20)
    assert smallest.min() >= smallest[0] - 1e-9
    _, smallest, proximity = driven(two, near, ((0.0, 0.001, 0.0), (0.0, 0.0, 0.0)), 20)
    assert (np.diff(smallest) > 0.0).all() and proximity.hits == 0


def collide(two, ticks):
    """Two arms sent at each other through the whole executor."""
    contract, urdf = two
    rehearsal = Rehearsal(contract, urdf)
    proximity, smallest = made_filter(two), []
    start = rehearsal.poses
    share = (np.arange(24) + 1)[:, None] / 24
    for k in range(ticks):
        if k % 100 == 0:
            tables = {}
            for name, sign in (("left", -1.0), ("right", 1.0)):
                way = rehearsal.poses[name].position_m + share * [0.0, sign * 0.3, 0.0]
                quats = np.tile(start[name].quat_xyzw, (24, 1))
                tables[name] = np.concatenate([way, quats, np.full((24, 1), 0.08)], axis=1)
            rehearsal.offer(rehearsal.chunk(tables, rehearsal.now_ns))
        out = rehearsal.step()
        poses = [(tuple(pose.position_m), tuple(pose.quat_xyzw)) for pose in out.poses.values()]
        smallest.append(proximity.distance_m(poses))
    return rehearsal, np.array(smallest)


def test_the_executor_keeps_two_arms_apart(two):
    rehearsal, smallest = collide(two, 900)
    assert 0.005 < smallest.min() < 0.05 and smallest[0] > 0.3
    assert rehearsal.output.counters["workspace_hits"] > 0 and rehearsal.output.counters["guard_failures"] == 0
    assert rehearsal.executor.status.state in ("RUN", "HOLD")


def blinded(monkeypatch):
    """Targets go where they are asked to."""
    monkeypatch.setattr(ProximityFilter, "allowed", lambda self, targets, before: list(targets))
    monkeypatch.setattr(ProximityFilter, "aimed_distance_m", 0.0)


def test_commands_stop_short_of_what_they_would_touch(two, monkeypatch):
    """With targets inside each other: no command touches, nothing is latched, and what leads away is followed."""
    blinded(monkeypatch)
    rehearsal, smallest = collide(two, 900)
    assert 0.0 < smallest.min() < 0.03 and rehearsal.output.counters["workspace_hits"] > 0
    assert rehearsal.executor.status.state in ("RUN", "HOLD") and rehearsal.output.counters["guard_failures"] == 0


def test_the_guard_stops_commands_that_would_touch(two, monkeypatch):
    """Filter and look at the way to rest are blinded: the guard alone must end it, with the prepared stop, a few millimetres inside."""
    blinded(monkeypatch)
    monkeypatch.setattr(Motion, "_stops_short", lambda *_: False)
    rehearsal, smallest = collide(two, 900)
    assert (rehearsal.executor.status.state, rehearsal.executor.status.reason) == ("LATCHED", "guard_collision")
    assert -0.05 < smallest.min() < 0.0


def test_a_robot_without_things_to_be_near_has_no_such_filter(contract, urdf_text):
    assert contract.robot.proximity is None
    assert ChunkExecutor(contract, urdf_text).motion.workspace_hits == 0
