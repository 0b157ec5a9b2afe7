"""Which policy a checkpoint text means, and how the wrong ones are refused."""

from pathlib import Path

import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.policies import choose
from lawam_ros.policies.interface import Inference


def test_a_folder_of_the_user_goes_before_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, own = tmp_path / "assets", tmp_path / "own"
    (shipped / "tiny").mkdir(parents=True)
    (own / "tiny").mkdir(parents=True)
    monkeypatch.setattr(choose, "assets_dir", lambda: shipped)
    monkeypatch.chdir(tmp_path)
    assert choose.find_checkpoint("tiny") == shipped / "tiny"
    monkeypatch.chdir(own)
    assert choose.find_checkpoint("tiny").resolve() == own / "tiny"
    assert choose.find_checkpoint(str(own / "tiny")) == own / "tiny"


@pytest.mark.parametrize("shipped", [[], ["beta", "alpha"]])
def test_a_missing_one_names_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: list[str]) -> None:
    for name in shipped:
        (tmp_path / "assets" / name).mkdir(parents=True)
    monkeypatch.setattr(choose, "assets_dir", lambda: tmp_path / "assets")
    expected = "alpha, beta" if shipped else "none"
    with pytest.raises(UserMistake, match=rf"no checkpoint 'gamma': expected a folder .* or a shipped one \({expected}\)"):
        choose.find_checkpoint("gamma")


def test_a_weights_file_is_a_checkpoint_another_file_is_not(tmp_path: Path) -> None:
    for name in ("model.safetensors", "pytorch_model.pt"):
        (tmp_path / name).write_bytes(b"x")
        assert choose.find_checkpoint(str(tmp_path / name)) == tmp_path / name
    (tmp_path / "config.yaml").write_text("a: 1")
    with pytest.raises(UserMistake, match="no checkpoint .*: expected a folder with config.yaml and final_model/, a weights file in it"):
        choose.find_checkpoint(str(tmp_path / "config.yaml"))


def test_the_hub_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repository: str, revision: str | None, patterns: tuple[str, ...]) -> str:
        asked.append((repository, revision))
        return str(tmp_path / "cache")

    monkeypatch.chdir(tmp_path)
    assert choose.find_checkpoint("owner/name@main", download) == tmp_path / "cache"
    (tmp_path / "owner").mkdir()
    with pytest.raises(UserMistake, match="no checkpoint 'owner/name@main'"):
        choose.find_checkpoint("owner/name@main", download)
    (tmp_path / "owner" / "name").mkdir()
    assert choose.find_checkpoint("owner/name", download) == Path("owner/name")
    assert asked == [("owner/name", "main")]


@pytest.mark.parametrize("text", ["hold", "recorded:anything#0", "tcp://gpu:57770", "ws://gpu?actions=libero"])
def test_what_needs_no_folder_is_let_through_before_the_start(text: str) -> None:
    choose.check_checkpoint(text)


@pytest.mark.parametrize(("text", "match"), [("nowhere", "no checkpoint 'nowhere'"), ("wss://gpu", "through a tunnel")])
def test_what_cannot_be_is_refused_before_the_start(text: str, match: str) -> None:
    with pytest.raises(UserMistake, match=match):
        choose.check_checkpoint(text)


@pytest.mark.parametrize("text", ["recorded:no/such/folder", "recorded:.#one", "recorded:.#-1", "recorded:.#²", "recorded:"])
def test_wrong_recordings_are_refused(text: str) -> None:
    with pytest.raises(UserMistake, match="expected recorded:<dataset folder>#<episode number> or recorded:<bag>, got"):
        choose.choose_policy(text, load_contract("franka_pick_place"), "cpu")


def test_hold_is_a_policy_that_wants_every_arm_where_it_is_commanded() -> None:
    contract = load_contract("franka_pick_place", "two_pandas", ["task.robots=[two_pandas]"])
    policy = choose.choose_policy("hold", contract, "cpu")
    reference = {arm.name: np.arange(8.0) + 10.0 * i for i, arm in enumerate(contract.robot.arms)}
    targets = policy.place(Inference(np.zeros((contract.task.policy.steps, 0))), reference)
    assert targets.components[:2] == ("left/x", "left/y") and len(targets.components) == 16
    assert targets.time_from_start_s[[0, -1]].tolist() == [0.05, 1.2]
    for row in targets.values:
        assert row.tolist() == [*reference["left"], *reference["right"]]
