"""Which policy a checkpoint text means, and how the wrong ones are refused."""

from pathlib import Path

import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.policies import choose


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


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UserMistake, match="no checkpoint"):
        choose.find_checkpoint(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("text", ["recorded:no/such/folder", "recorded:.#one", "recorded:.#-1", "recorded:.#²", "recorded:"])
def test_wrong_recordings_are_refused(text: str) -> None:
    with pytest.raises(UserMistake, match="expected recorded:<dataset folder>#<episode number>, got"):
        choose.choose_policy(text, load_contract("franka_pick_place"), "cpu")
