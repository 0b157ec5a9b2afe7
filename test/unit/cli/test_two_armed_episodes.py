"""Two arms from demonstration to episode: what is recorded, what training reads of it, and its playback through executor and world."""

from pathlib import Path

import numpy as np
import pytest

from lawam_ros.cli.main import main
from lawam_ros.contract.load import load_contract
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.model.config import load_model_config
from lawam_ros.sim.renderer import choose_renderer
from lawam_ros.training.recordings import open_recording

SEED = 10_000
CONTRACT = load_contract("x1_towel_fold")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("towel") / "set"
    call = ["data", "make", "--task", "x1_towel_fold", "--episodes", "1", "--seed", str(SEED), "--noise", "none", "--out", str(out)]
    assert main(call) == 0
    return out


def test_recorded_rows_are_those_of_both_arms(folder: Path) -> None:
    dataset = LeRobotDataset(folder)
    assert dataset.tasks == ["fold the towel"] and dataset.info["robot_type"] == "quanta_x1"
    assert [key.rsplit(".", 1)[1] for key in dataset.video_keys] == ["front", "left_wrist", "right_wrist"]
    rows = dataset.rows(0)
    action, reference, state = (rows[key].astype(float) for key in ("action", "observation.reference", "observation.state"))
    assert action.shape[1] == reference.shape[1] == 16 and state.shape[1] == 20
    for arm, (row, seen) in zip(CONTRACT.robot.arms, ((slice(0, 8), slice(0, 10)), (slice(8, 16), slice(10, 20))), strict=True):
        np.testing.assert_array_equal(action[:-1, row][:, :7], reference[1:, row][:, :7])
        assert set(np.unique(action[:, row][:, 7].round(4))) == {0.0, arm.gripper.opening_max_m}
        assert np.linalg.norm(reference[:, row][:, :3] - state[:, seen][:, :3], axis=1).max() < 0.015
    # Each in its arm's own frame: the left hand works right of the left shoulder, the right hand left of the right one.
    assert np.median(reference[:, 1]) < -0.05 and np.median(reference[:, 9]) > 0.05


def test_training_reads_both_arms_into_the_model_made_for_them(folder: Path) -> None:
    recording = open_recording(folder, load_model_config("tiny_two_arms"))
    assert recording.vectors.actions.shape[1:] == (CONTRACT.task.policy.steps, 14) and recording.vectors.state.shape[1] == 20
    assert recording.spec.embodiment_id == 31 and len(recording.spec.wrist) == 2


def test_a_played_back_fold_folds_the_towel(folder: Path) -> None:
    choose_renderer()
    from lawam_ros.cli.direct_episodes import DirectRunner
    from lawam_ros.policies.recorded import RecordedPolicy

    runner = DirectRunner(CONTRACT, RecordedPolicy(folder, 0, CONTRACT), latency_s=0.1, run_seed=0)
    result = runner.episode(SEED)
    runner.policy.close()
    assert result.success and all(result.stages.values()) and result.final_error_m is not None and result.final_error_m < 0.02
    assert runner.policy.measured.violations == 0 and len(runner.policy.measured.uses) > 5
