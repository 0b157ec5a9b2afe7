"""The executor under adversarial treatment, and the judge of whole runs against the judge of single commands."""

from collections import Counter

import numpy as np
import pytest

from lawam_ros.cli.bench_fuzz import fuzz_part
from lawam_ros.contract.load import load_contract
from lawam_ros.control.limit_checker import check_commands
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.control.run_judge import judge_run


@pytest.mark.parametrize(
    ("robot", "seed", "ticks"),
    [
        ("franka_panda", 20, 24_000),
        ("franka_fr3", 21, 12_000),
        ("two_pandas", 20, 12_000),
        ("quanta_x1", 20, 12_000),
        pytest.param("franka_panda", 20, 100_000, marks=pytest.mark.long),
        pytest.param("franka_fr3", 21, 60_000, marks=pytest.mark.long),
        pytest.param("two_pandas", 20, 60_000, marks=pytest.mark.long),
    ],
)
def test_no_treatment_makes_the_executor_break_a_limit(robot, seed, ticks):
    result = fuzz_part(robot, seed, ticks)
    assert result.ticks == ticks and result.verdict.commands > 0.8 * ticks
    assert result.verdict.violations == Counter() and result.non_finite_outputs == 0
    # The limits were really reached, which not every seed does, and the arm really moved.
    for quantity in ("velocity", "acceleration", "jerk_difference", "position"):
        assert 0.99 < result.verdict.worst[quantity] <= 1.0 + 1e-6, quantity
    assert result.events["RUN"] > 0.3 * ticks and result.events["chunk taken"] > ticks / 200
    assert {"STOP", "LATCHED", "INACTIVE", "chunk refused: non_finite", "chunk refused: start_distance"} <= set(result.events)


def test_the_same_seed_gives_the_same_run():
    first, second = (fuzz_part("franka_panda", 3, 600) for _ in range(2))
    assert (first.events, first.verdict) == (second.events, second.verdict)


@pytest.mark.parametrize("robot", ["franka_panda", "franka_fr3"])
def test_both_judges_find_the_same(robot):
    contract = load_contract("franka_pick_place", robot, [f"task.robots=[{robot}]"])
    limits = stacked_limits([arm.limits for arm in contract.robot.arms])
    rng = np.random.default_rng(1)
    n = 300
    stamps = np.cumsum(rng.choice([4_000_000, 4_000_000, 8_000_000], n))
    stamps[50] = stamps[49]
    q = rng.uniform(limits.lower_rad - 0.05, limits.upper_rad + 0.05, (n, 7))
    v = rng.uniform(-1.1, 1.1, (n, 7)) * limits.velocity_rad_s
    a = rng.normal(size=(n, 7)) * limits.acceleration_rad_s2
    q[20, 3] = np.nan
    v[70], a[70], q[70], stamps[70] = v[69], a[69], q[69], stamps[69]
    single = check_commands(stamps, q, v, a, limits)
    verdict = judge_run(stamps, q, v, a, limits)
    assert verdict.violations == Counter(found.quantity for found in single)
    assert set(verdict.violations) >= {
        "position",
        "velocity",
        "acceleration",
        "velocity_difference",
        "jerk_difference",
        "stamp",
        "non_finite",
    }
    assert ("velocity_at_position" in verdict.violations) == (robot == "franka_fr3")
    assert verdict.worst["velocity"] == pytest.approx((np.abs(v) / limits.velocity_rad_s).max())
