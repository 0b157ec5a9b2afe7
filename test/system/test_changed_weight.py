"""The replay test of a policy notices a single changed weight, by the hash of the weights and by what the policy does."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from safetensors.numpy import load_file, save_file

from lawam_ros.cli.main import main
from lawam_ros.contract.paths import assets_dir

LAST_BIAS = "policy_backend.flow.action_decoder.layer2.b"


def change_one_weight(checkpoint: Path) -> None:
    """The bias of the first action dimension, by a twentieth of its range."""
    path = checkpoint / "final_model" / "model.safetensors"
    weights = load_file(path)
    weights[LAST_BIAS] = weights[LAST_BIAS].copy()
    weights[LAST_BIAS][0, 0] += 0.1
    save_file(weights, path, metadata={"format": "pt"})


def test_a_policy_with_one_changed_weight_fails_its_replay_test(lawam_replay, capsys, tmp_path):
    checkpoint, bag = tmp_path / "policy", tmp_path / "bag"
    shutil.copytree(assets_dir() / "tiny_franka", checkpoint)
    run = ["eval", "--checkpoint", str(checkpoint), "--episodes", "1", "--set", "task.episode.timeout_s=2.0", "--device", "cpu"]
    assert main([*run, "--no-video", "--record", str(bag), "--out", str(tmp_path / "out")]) == 0
    report = lawam_replay(bag, "--policy", "lawam", "--device", "cpu")
    assert report["identical"] and not report["regression"]

    change_one_weight(checkpoint)
    assert main(["replay", str(bag), "--policy", "lawam", "--device", "cpu", "--json"]) == 1
    good = {row["name"]: row["good"] for row in json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]}
    assert not good["weights"] and not good["chunks, position"] and not good["commands"]
