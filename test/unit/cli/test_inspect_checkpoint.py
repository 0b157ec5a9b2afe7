"""``lawam inspect``: what it shows of each layout, and one sentence for each broken folder."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lawam_ros.cli.main import main
from lawam_ros.model.action_components import published_robot
from lawam_ros.model.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from lawam_ros.model.facts import CheckpointFacts
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.model.state_keys import canonical_state

SMALL = Path(__file__).parents[2] / "data" / "golden_small"
FACTS = CheckpointFacts(
    "franka_panda", "franka", 3, 20.0, 0.4, 1, ("front",), ("wrist",), ("tcp_position", "tcp_rotation_6d", "gripper"),
    ("translation_chunk_relative", "rotvec_chunk_relative", "gripper_opening"), trained_delay_steps=6,
    data_sha256="ab" * 32, training={"recipe": "test"},
)  # fmt: skip


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(SMALL, tmp_path / "golden"))


@pytest.fixture(scope="module")
def golden():
    return load_checkpoint(SMALL / "runs" / "nostate")


def inspect(folder, capsys):
    assert main(["inspect", str(folder), "--json"]) == 0
    out = capsys.readouterr().out
    text, _, last = out.rstrip("\n").rpartition("\n")
    return json.loads(last), text


def test_an_official_folder(capsys, golden):
    run = SMALL / "runs" / "nostate"
    summary, text = inspect(run, capsys)
    assert summary["layout"] == "official"
    assert summary["parameters"] == sum(parameter.numel() for parameter in golden.model.parameters())
    assert summary["parameters"] == sum(row["parameters"] for row in summary["components"])
    dtypes = {row["name"]: row["dtypes"] for row in summary["components"]}
    assert (dtypes["language model: text layers"], dtypes["action expert"]) == (["bfloat16"], ["float32"])
    assert {row["name"] for row in summary["components"] if row["training_only"]} == {"latent-action encoder", "state predictor"}
    assert summary["rate_hz"] == {"value": 20.0, "assumed": True}
    assert summary["horizon"] == {"seconds": 0.4, "actions": 8, "rows": 10, "denoising_steps": 10}
    assert summary["embodiments"] == {"layers_for": 6, "statistics_for": ["franka"], "made_for": None}
    assert summary["cameras"]["assumed"] and all(component["assumed"] for component in summary["action"])
    assert summary["statistics"]["franka"]["action"]["binary_dims"] == [6]
    weights = run / "final_model" / "pytorch_model.pt"
    assert summary["sha256"]["final_model/pytorch_model.pt"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert set(summary["sha256"]) == {"config.yaml", "dataset_statistics.json", "final_model/pytorch_model.pt"}
    assert text.count("(assumed)") == 7 + 2
    assert "unconditional embedding not trained" in text


def test_a_robot_that_is_not_published_is_not_guessed(copy, capsys):
    path = copy / "runs" / "nostate" / "config.yaml"
    path.write_text(path.read_text().replace("data_mix: libero", "data_mix: my_robot"))
    summary, text = inspect(path.parent, capsys)
    assert {component["unit"] for component in summary["action"]} == {"unknown"}
    assert summary["rate_hz"]["value"] is None and summary["cameras"]["primary"] is None
    assert summary["horizon"]["actions"] is None
    assert "rate         unknown" in text


@pytest.mark.parametrize(
    ("mixture", "size", "last"),
    [
        ("libero_merged", 7, ("gripper", "1 closes, 0 opens")),
        ("RoboTwin_merged", 16, ("right gripper", "1 open, 0 closed")),
        ("robotwin_merged", 14, ("right gripper", "1 open, 0 closed")),
        ("fold_towel_gop10", 14, ("right gripper", "robot units")),
    ],
)
def test_published_robots(mixture, size, last):
    robot = published_robot(mixture, size)
    assert robot is not None and len(robot.components) == size and robot.components[-1] == last
    assert published_robot(mixture, size + 1) is None


def test_our_folder_assumes_nothing(tmp_path, golden, capsys):
    statistics = json.loads((SMALL / "runs" / "nostate" / "dataset_statistics.json").read_text())
    run = save_checkpoint(tmp_path / "run", golden.model, statistics, FACTS, PromptEncoder(golden.config).tokenizer, inference_only=True)
    summary, text = inspect(run, capsys)
    assert summary["layout"] == "lawam_ros"
    assert summary["embodiments"]["made_for"] == {"id": 3, "tag": "franka", "robot": "franka_panda"}
    assert summary["embodiments"]["layers_for"] == 1
    assert summary["cameras"] == {"primary": ["front"], "wrist": ["wrist"], "assumed": False}
    assert [component["unit"] for component in summary["action"]] == ["m"] * 3 + ["rad"] * 3 + ["m"]
    assert (summary["training"], summary["trained_delay_steps"], summary["data_sha256"]) == ({"recipe": "test"}, 6, "ab" * 32)
    assert "(assumed)" not in text
    assert "delay        trained for up to 6 committed steps" in text and f"data         sha256 {'ab' * 32}" in text
    absent = {row["name"] for row in summary["components"] if row["tensors"] == 0}
    assert absent == {"latent-action encoder", "state predictor"}
    assert {"base_vlm/config.json", "vision_encoder/config.json", "lam.yaml"} <= set(summary["sha256"])


def test_unknown_delay_and_data_are_said(tmp_path, golden, capsys):
    statistics = json.loads((SMALL / "runs" / "nostate" / "dataset_statistics.json").read_text())
    statistics["franka"]["action"] = {"min": [-1.0] * 14, "max": [1.0] * 14}
    facts = replace(FACTS, trained_delay_steps=0, data_sha256="")
    run = save_checkpoint(tmp_path / "run", golden.model, statistics, facts, PromptEncoder(golden.config).tokenizer)
    summary, text = inspect(run, capsys)
    assert "delay        not trained for committed steps" in text and "data         unknown" in text
    names = [component["name"] for component in summary["action"]]
    assert (len(names), names[0], names[-1]) == (14, "arm 1 translation_chunk_relative x", "arm 2 gripper_opening")


def test_a_shipped_checkpoint_by_its_name_and_by_its_weights_file(capsys):
    by_name, _ = inspect("tiny_franka", capsys)
    by_file, _ = inspect(Path(by_name["folder"]) / by_name["weights"], capsys)
    assert by_name == by_file


def test_a_lerobot_folder(copy, capsys):
    state = canonical_state(read_tensors(copy / "runs" / "nostate" / "final_model" / "pytorch_model.pt"), "test")
    folder = copy / "lerobot" / "nostate_older"
    save_file({"model." + key: tensor.clone() for key, tensor in state.items()}, folder / "model.safetensors")
    summary, _ = inspect(folder, capsys)
    assert (summary["layout"], summary["rate_hz"]) == ("LeRobot", {"value": 20.0, "assumed": False})
    assert summary["cameras"] == {"primary": ["observation.images.image"], "wrist": [], "assumed": False}
    assert summary["action"][-1] == {"name": "gripper", "unit": "1 closes, -1 opens", "assumed": True}
    assert summary["horizon"]["actions"] == 8
    assert len(summary["sha256"]) == 6


def _damage_weights(run):
    (run / "final_model" / "pytorch_model.pt").write_bytes(b"nothing")


def _drop_tensor(run):
    path = run / "final_model" / "pytorch_model.pt"
    tensors = canonical_state(read_tensors(path), "test")
    del tensors["policy_backend.flow.cfg_embeddings"]
    path.unlink()
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, path.with_name("model.safetensors"))


def _misshape(run):
    _drop_tensor(run)
    path = run / "final_model" / "model.safetensors"
    save_file(load_file(path) | {"policy_backend.flow.cfg_embeddings": torch.zeros(2)}, path)


def _nan_weights(run):
    _drop_tensor(run)
    path = run / "final_model" / "model.safetensors"
    save_file(load_file(path) | {"policy_backend.flow.cfg_embeddings": torch.full((1, 256, 48), torch.nan)}, path)


def _nan_statistics(run):
    path = run / "dataset_statistics.json"
    content = json.loads(path.read_text())
    content["franka"]["action"]["max"][0] = float("nan")
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "no checkpoint '"),
        (_damage_weights, "not a readable checkpoint file"),
        (_drop_tensor, "tensors are missing, first policy_backend.flow.cfg_embeddings"),
        (_misshape, "cfg_embeddings: expected shape"),
        (_nan_statistics, "expected finite numbers"),
        (_nan_weights, "tensor policy_backend.flow.cfg_embeddings holds NaN or infinity"),
        (lambda run: (run / "config.yaml").unlink(), "expected config.yaml"),
        (lambda run: (run / "dataset_statistics.json").unlink(), "expected dataset statistics"),
        (lambda run: (run.parents[1] / "assets/qwen3vl-tiny/config.json").unlink(), "describes the architecture"),
        (lambda run: (run.parents[1] / "assets/dinov3-tiny/config.json").unlink(), "describes the architecture"),
    ],
)
def test_a_broken_folder_is_one_sentence(copy, capsys, damage, message):
    run = copy / "runs" / "nostate"
    damage(run)
    assert main(["inspect", str(run)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err and err.count("\n") == 1 and err.startswith("lawam: ")
