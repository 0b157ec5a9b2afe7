"""When the policy looks, which noise it uses and how many images it remembers."""

import pytest

pytest.importorskip("rclpy", reason="ROS 2 messages are not installed")

from lawam_ros.nodes.camera_input import frames_kept
from lawam_ros.nodes.policy import due
from lawam_ros.policies.noise import noise_seed

MS = 1_000_000


@pytest.mark.parametrize(
    ("stamp_ms", "last_ms", "epoch_ms", "looks"),
    [
        (1000, 0, 0, True),
        (1000, 600, 0, True),
        (1000, 601, 0, False),
        (1000, 1000, 0, False),
        (1000, 0, 1000, False),  # taken at the instant of a new instruction: before it was heard
        (1000, 0, 1001, False),
        (1001, 0, 1000, True),
        (1000, 5000, 0, True),  # the clock went back
        (1000, 5000, 1500, False),
    ],
)
def test_due(stamp_ms: int, last_ms: int, epoch_ms: int, looks: bool) -> None:
    assert due(stamp_ms * MS, last_ms * MS, 400 * MS, epoch_ms * MS) is looks


def test_noise_is_fixed_by_run_and_stamp() -> None:
    assert noise_seed(3, 10**18) == noise_seed(3, 10**18)
    seeds = {noise_seed(run, stamp) for run in range(20) for stamp in range(10**18, 10**18 + 50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert noise_seed(1, 11) != noise_seed(11, 1)


@pytest.mark.parametrize(("rate_hz", "age_s", "at_least"), [(20.0, 0.2, 5), (60.0, 0.2, 13), (240.0, 1.0, 241)])
def test_a_fast_camera_is_remembered_as_long_as_a_slow_one_may_be_old(rate_hz: float, age_s: float, at_least: int) -> None:
    assert at_least <= frames_kept(rate_hz, age_s) <= at_least + 8
