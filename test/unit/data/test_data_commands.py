import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lawam_ros.cli import data
from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.rotations import quat_inverse, quat_multiply, rotvec_from_quat
from lawam_ros.data.lerobot_reader import LeRobotDataset


def lawam(*words: str) -> int:
    parser = argparse.ArgumentParser()
    data.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["data", *words])
    return int(args.run(args))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "set"
    assert lawam("make", "--task", "franka_pick_place", "--episodes", "2", "--seed", "2", "--out", str(out)) == 0
    return out


def test_recorded_rows_mean_what_the_schema_says(folder: Path) -> None:
    dataset = LeRobotDataset(folder)
    assert len(dataset) == 2 and [episode.columns["seed"] for episode in dataset.episodes] == [2, 3]
    assert dataset.tasks == ["put the red cube on the blue pad"]
    rows = dataset.rows(0)
    action, reference, state = (rows[key].astype(float) for key in ("action", "observation.reference", "observation.state"))
    np.testing.assert_array_equal(action[:-1, :7], reference[1:, :7])
    assert set(np.unique(action[:, 7].round(6))) == {0.0, 0.08}
    assert np.linalg.norm(reference[:, :3] - state[:, :3], axis=1).max() < 0.01
    turn = rotvec_from_quat(quat_multiply(reference[1:, 3:7], quat_inverse(reference[:-1, 3:7])))
    assert np.linalg.norm(turn, axis=1).max() < 0.1 and np.sum(reference[1:, 3:7] * reference[:-1, 3:7], axis=1).min() > 0.0
    np.testing.assert_allclose(np.linalg.norm(reference[:, 3:7], axis=1), 1.0, atol=1e-6)


def test_every_row_has_a_picture_of_each_camera_that_changes(folder: Path) -> None:
    dataset = LeRobotDataset(folder)
    for key in ("observation.images.front", "observation.images.wrist"):
        frames = list(dataset.frames_of(1, key))
        assert len(frames) == dataset.episodes[1].length and frames[0].shape == (240, 320, 3)
        assert np.abs(frames[0].astype(int) - frames[40]).mean() > 2.0
    vectors = {"observation.state", "observation.reference", "action"}
    assert set(dataset.stats()) == vectors | {"observation.images.front", "observation.images.wrist"}


def test_resume_with_two_processes_equals_one_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lawam("make", "--episodes", "1", "--seed", "2", "--out", str(tmp_path / "b")) == 0
    code = lawam("make", "--episodes", "2", "--seed", "2", "--out", str(tmp_path / "b"), "--resume", "--jobs", "2", "--json")
    assert code == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["episodes"] == 2 and summary["failures"] == []
    one, other = LeRobotDataset(folder), LeRobotDataset(tmp_path / "b")
    for key in ("action", "observation.state", "index"):
        np.testing.assert_array_equal(one.column(key), other.column(key))


def test_failed_attempts_are_left_out_and_the_exit_code_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    impossible = ("--set", "world.cube_mass_kg=2.0", "--set", "task.episode.timeout_s=1.0", "--noise", "none")
    assert lawam("make", "--episodes", "1", "--out", str(tmp_path / "c"), "--json", *impossible) == 1
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["episodes"] == 0 and len(summary["failures"]) > 1
    assert "not done after 1 s" in summary["failures"][0]["reason"]


def test_inspect_prints_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lawam("inspect", str(folder), "--json") == 0
    out = capsys.readouterr().out
    assert "2 episodes" in out and "observation.reference" in out and "put the red cube on the blue pad" in out
    assert json.loads(out.splitlines()[-1])["frames"] == LeRobotDataset(folder).frames


def test_inspect_draws_what_is_there(folder: Path, tmp_path: Path) -> None:
    assert lawam("inspect", str(folder), "--plot", str(tmp_path / "plots" / "sheet.png")) == 0
    sheet = cv2.imread(str(tmp_path / "plots" / "sheet.png"))
    assert sheet is not None and min(sheet.shape[:2]) > 500 and sheet.std() > 20
    with pytest.raises(UserMistake, match="--plot"):
        lawam("inspect", str(folder), "--plot", str(tmp_path / "sheet.txt"))


def test_wrong_arguments_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="not empty"):
        lawam("make", "--episodes", "1", "--out", str(folder))
    with pytest.raises(UserMistake, match="next split"):
        lawam("make", "--episodes", "100", "--seed", "8950", "--out", str(tmp_path / "d"))
    with pytest.raises(UserMistake, match="--jobs"):
        lawam("make", "--jobs", "0", "--out", str(tmp_path / "d"))
    with pytest.raises(UserMistake, match="perturb: expected names of colour, .* got gravity"):
        lawam("make", "--perturb", "colour,gravity", "--out", str(tmp_path / "c"))
    with pytest.raises(UserMistake, match="no checkpoint 'nowhere'"):
        lawam("make", "--noise", "policy", "--checkpoint", "nowhere", "--out", str(tmp_path / "d"))
    with pytest.raises(UserMistake, match="--policy-seconds: expected --noise policy or stuck"):
        lawam("make", "--policy-seconds", "1", "2", "--out", str(tmp_path / "d"))
    with pytest.raises(UserMistake, match="--policy-seconds: expected 0 < LOW <= HIGH <= 120, got 3 2"):
        lawam("make", "--noise", "policy", "--checkpoint", "tiny_franka", "--policy-seconds", "3", "2", "--out", str(tmp_path / "d"))
    with pytest.raises(UserMistake, match="unknown task"):
        lawam("make", "--task", "franka_dance", "--out", str(tmp_path / "d"))
    with pytest.raises(UserMistake, match="data make"):
        lawam("inspect", str(tmp_path / "nothing"))
    assert not (tmp_path / "d").exists()
