"""Both arms of the Quanta X1 on one time base: apart from each other and from the table, and stopped together."""

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.control.motion import _targets_of
from lawam_ros.control.proximity import ProximityFilter
from lawam_ros.control.rehearsal import Rehearsal, minimum_jerk

CONTRACT = load_contract("x1_towel_fold")
ROBOT = CONTRACT.robot
URDF = (urdf_dir() / ROBOT.urdf).read_text(encoding="utf-8")
STEPS = CONTRACT.task.policy.steps


@pytest.fixture
def rehearsal() -> Rehearsal:
    return Rehearsal(CONTRACT, URDF)


@pytest.fixture
def checker() -> LimitChecker:
    return LimitChecker(stacked_limits([arm.limits for arm in ROBOT.arms]))


def sent_to(rehearsal: Rehearsal, moves_m: dict[str, list[float]]) -> str | None:
    """A chunk that carries each hand so far from where it is commanded now."""
    share = minimum_jerk((np.arange(STEPS) + 1) / STEPS)[:, None]
    tables = {}
    for name, move in moves_m.items():
        pose = rehearsal.poses[name]
        rows = (pose.position_m + share * move, np.tile(pose.quat_xyzw, (STEPS, 1)), np.full((STEPS, 1), 0.05))
        tables[name] = np.concatenate(rows, axis=1)
    return rehearsal.offer(rehearsal.chunk(tables, rehearsal.now_ns))


def watched(rehearsal: Rehearsal, checker: LimitChecker) -> float:
    """One tick, checked; smallest distance of the commanded hands from each other and from the table."""
    command = rehearsal.step().command
    checker.add(command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2)
    assert ROBOT.proximity is not None
    proximity = ProximityFilter(ROBOT, ROBOT.proximity, URDF, 1.0 / ROBOT.tick_hz)
    return proximity.distance_m(_targets_of(rehearsal.poses))


@pytest.mark.parametrize(
    ("moves_m", "kept_m"),
    [({"left": [0.0, -0.3, 0.0], "right": [0.0, 0.3, 0.0]}, 0.01), ({"left": [0.0, 0.0, -0.25], "right": [0.05, 0.0, -0.25]}, 0.0)],
    ids=["at each other", "into the table"],
)
def test_hands_are_kept_off_each_other_and_off_the_table(rehearsal, checker, moves_m, kept_m):
    smallest = []
    for k in range(500):
        if k % 100 == 0:
            assert sent_to(rehearsal, moves_m) is None
        smallest.append(watched(rehearsal, checker))
    assert kept_m <= min(smallest) < 0.05 and smallest[0] > 0.1, "it came near, and no nearer"
    assert rehearsal.output.counters["workspace_hits"] > 0 and rehearsal.output.counters["guard_failures"] == 0
    assert checker.violations == 0 and rehearsal.executor.status.state in ("RUN", "HOLD")


def test_the_silence_of_one_arm_stops_both_in_phase(rehearsal, checker):
    sent_to(rehearsal, {"left": [0.1, 0.0, 0.05], "right": [0.1, 0.0, 0.05]})
    starts = {name: pose.position_m for name, pose in rehearsal.poses.items()}
    for _ in range(50):
        watched(rehearsal, checker)
    assert rehearsal.executor.status.state == "RUN"
    lost_ns, stopped_ns = rehearsal.now_ns, None
    for _ in range(150):
        rehearsal.now_ns += rehearsal.period_ns
        left = dict(zip(ROBOT.arm("left").joints, rehearsal.joints_rad[ROBOT.joint_slice("left")].tolist(), strict=True))
        rehearsal.executor.measured(rehearsal.now_ns, left)
        command = rehearsal.tick().command
        checker.add(command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2)
        if stopped_ns is None and rehearsal.executor.status.state in ("STOP", "LATCHED"):
            stopped_ns = rehearsal.now_ns
        moving = [bool(np.any(command.velocities_rad_s[ROBOT.joint_slice(arm.name)])) for arm in ROBOT.arms]
        assert moving[0] == moving[1], "both move or both stand"
    assert stopped_ns is not None and stopped_ns - lost_ns <= (ROBOT.budgets.joint_state_age_s + 0.02) * 1e9
    assert (rehearsal.executor.status.state, rehearsal.executor.status.reason) == ("LATCHED", "joint_states_lost")
    left, right = (rehearsal.poses[name].position_m - starts[name] for name in ("left", "right"))
    np.testing.assert_allclose(left, right, atol=1e-6)
    assert checker.violations == 0


def test_a_chunk_for_one_arm_is_no_chunk(rehearsal):
    pose = rehearsal.poses["left"]
    table = np.tile(np.concatenate([pose.position_m, pose.quat_xyzw, [0.05]]), (STEPS, 1))
    both = rehearsal.chunk({"left": table, "right": table}, rehearsal.now_ns)
    one = type(both)(**{**both.__dict__, "components": both.components[:8], "values": both.values[:, :8]})
    reason = rehearsal.offer(one)
    assert reason is not None and "component" in reason
