"""Playback of a recorded episode: by the clock while the arm follows, from where the arm is once it has fallen behind."""

from pathlib import Path

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import Observation, Pose
from lawam_ros.policies import recorded
from lawam_ros.policies.recorded import RecordedPolicy, row_within_reach

CONTRACT = load_contract("franka_pick_place")
HZ = CONTRACT.task.policy.action_hz
SPEED_M_PER_ROW = 0.01


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> RecordedPolicy:
    """One second out along x and one second back, at 1 cm per row."""

    class Dataset:
        fps = HZ

        def __init__(self, _: Path) -> None:
            x = SPEED_M_PER_ROW * np.concatenate([np.arange(HZ), np.arange(HZ, -1, -1)])
            self.action = np.column_stack([x, *np.tile([[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.08]], (len(x), 1)).T])

        def __len__(self) -> int:
            return 1

        def rows(self, *_: object) -> dict[str, np.ndarray]:
            return {"action": self.action}

    monkeypatch.setattr(recorded, "LeRobotDataset", Dataset)
    return RecordedPolicy(Path("out_and_back"), 0, CONTRACT)


def first_x(policy: RecordedPolicy, time_s: float, x: float, epoch: int = 0) -> float:
    """x of the first target in a look at ``time_s`` of an arm that stands at x."""
    pose = Pose(np.array([x, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0]))
    arm = CONTRACT.robot.arms[0].name
    seen = Observation(round(time_s * 1e9), {}, {}, {arm: pose}, {arm: 0.08}, np.zeros(7), "", epoch)
    return float(policy.look(seen, 0).actions[0, 0])


def test_an_arm_that_follows_is_led_by_the_clock(policy):
    for time_s in (0.0, 0.4, 0.8):
        assert first_x(policy, 5.0 + time_s, 0.2 * time_s - 0.03) == pytest.approx(0.2 * time_s)
    assert first_x(policy, 6.6, 0.1) == pytest.approx(0.08), "on the way back"
    assert first_x(policy, 9.0, 0.0) == 0.0, "and at its end"


def test_an_arm_whose_first_chunk_was_lost_starts_at_the_first_row(policy):
    assert first_x(policy, 0.0, 0.0) == 0.0
    assert first_x(policy, 0.8, 0.0) == 0.0
    assert first_x(policy, 1.2, 0.0) == pytest.approx(0.08), "and the clock counts from there"


def test_a_held_arm_goes_on_from_where_it_was_held_and_on_the_way_it_was_on(policy):
    first_x(policy, 0.0, 0.0)
    assert first_x(policy, 1.2, 0.15) == pytest.approx(0.16), "on the way back"
    for time_s in (2.0, 3.0):
        assert first_x(policy, time_s, 0.14) == pytest.approx(0.14)
    assert first_x(policy, 3.2, 0.12) == pytest.approx(0.10), "still on the way back, by the clock"


def test_a_new_epoch_starts_anew(policy):
    first_x(policy, 0.0, 0.0)
    first_x(policy, 1.0, 0.2)
    assert first_x(policy, 1.4, 0.2, epoch=1) == 0.0


def test_rows_passed_are_not_played_again():
    distances_m = np.array([0.0, 0.3, 0.2, 0.1, 0.2, 0.3])
    assert row_within_reach(distances_m, followed=1, due=5, reach_m=0.15) == 3
    assert row_within_reach(distances_m, followed=4, due=5, reach_m=0.15) == 4
    assert row_within_reach(distances_m, followed=1, due=5, reach_m=0.3) == 5
