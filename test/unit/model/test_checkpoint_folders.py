"""Writing and reading checkpoint folders, and every way in which one can be broken."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.task import PolicyContract
from lawam_ros.model.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from lawam_ros.model.config import load_model_config
from lawam_ros.model.engine import Engine
from lawam_ros.model.facts import CheckpointFacts
from lawam_ros.model.lawam import build_model
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.model.state_keys import canonical_state

SMALL = Path(__file__).parents[2] / "data" / "golden_small"
RUN = SMALL / "runs" / "nostate"
POLICY = PolicyContract(20.0, 0.4, 1, 0.4, ("front",), ("wrist",), ("tcp_position",), ("translation_chunk_relative",))
FACTS = CheckpointFacts(
    robot="franka_panda",
    embodiment_tag="franka",
    embodiment_id=3,
    action_hz=20.0,
    horizon_s=0.4,
    action_offset_steps=1,
    primary_cameras=("front",),
    wrist_cameras=("wrist",),
    state=("tcp_position",),
    action=("translation_chunk_relative",),
    training={"steps": 10},
)


@pytest.fixture(scope="module")
def golden():
    torch.set_num_threads(1)
    return load_checkpoint(RUN)


@pytest.fixture(scope="module")
def statistics():
    return json.loads((RUN / "dataset_statistics.json").read_text())


@pytest.fixture
def ours(tmp_path, golden, statistics):
    return save_checkpoint(tmp_path / "run", golden.model, statistics, FACTS, PromptEncoder(golden.config).tokenizer)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(SMALL, tmp_path / "golden")
    return tmp_path / "golden" / "runs" / "nostate"


def rewrite(path, change):
    tensors = dict(read_tensors(path))
    change(tensors)
    path.unlink()
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, path.with_name("model.safetensors"))


def canonical(path):
    """Drop the aliases, so that a single change makes the file inconsistent with its configuration only."""
    tensors = canonical_state(read_tensors(path), "test")
    path.unlink()
    target = path.with_name("model.safetensors")
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, target)
    return target


def test_round_trip_keeps_every_weight_and_fact(ours, golden):
    loaded = load_checkpoint(ours)
    assert loaded.facts == FACTS
    assert loaded.config.flow == golden.config.flow
    assert loaded.config.lam == golden.config.lam
    assert loaded.config.training == golden.config.training | {"lam_yaml_path": "lam.yaml"}
    theirs = golden.model.state_dict()
    for key, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, theirs[key]), key
    stored = load_file(ours / "final_model" / "model.safetensors")
    assert {tensor.dtype for key, tensor in stored.items() if ".vlm." in key} == {torch.bfloat16}
    assert "policy_backend.lam.vision_encoder.model.layer.0.norm1.weight" in stored


def test_our_folder_needs_nothing_outside_itself(ours, tmp_path):
    moved = tmp_path / "elsewhere" / "deeper" / "run"
    shutil.copytree(ours, moved)
    shutil.rmtree(ours)
    engine = Engine.load(moved)
    engine.check(POLICY, 3)
    black = np.zeros((240, 320, 3), np.uint8)
    assert engine.infer([black], [black], "go", None, 3, 20.0, seed=0).actions.shape == (8, 7)


def test_inference_only_leaves_out_the_teacher(tmp_path, golden, statistics):
    tokenizer = PromptEncoder(golden.config).tokenizer
    run = save_checkpoint(tmp_path / "small", golden.model, statistics, FACTS, tokenizer, inference_only=True)
    loaded = load_checkpoint(run)
    assert loaded.facts is not None and loaded.facts.inference_only
    assert not [key for key in loaded.model.state_dict() if key.startswith(("lam.encoder.", "lam.vq.", "lam.state_decoder."))]
    assert not [parameter for parameter in loaded.model.parameters() if parameter.is_meta]


def test_inference_only_keeps_the_weights_of_its_own_embodiment_alone(tmp_path, golden, statistics):
    tokenizer = PromptEncoder(golden.config).tokenizer
    run = save_checkpoint(tmp_path / "small", golden.model, statistics, FACTS, tokenizer, vlm_dtype=torch.float32, inference_only=True)
    stored = read_tensors(run / "final_model" / "model.safetensors")["policy_backend.flow.action_encoder.W2.W"]
    weights = golden.model.flow.action_encoder.W2.W
    assert stored.shape == (1, *weights.shape[1:])
    loaded = load_checkpoint(run).model.flow.action_encoder.W2.W
    torch.testing.assert_close(loaded[FACTS.embodiment_id], weights[FACTS.embodiment_id])
    others = [i for i in range(len(loaded)) if i != FACTS.embodiment_id]
    assert torch.isnan(loaded[others]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action_hz": 10.0}, "action rate"),
        ({"horizon_s": 0.8}, "horizon"),
        ({"primary_cameras": ("side",)}, "primary cameras"),
        ({"wrist_cameras": ()}, "wrist cameras"),
        ({"state": ("gripper",)}, "state"),
        ({"action": ("gripper_opening",)}, "action"),
        ({"action_offset_steps": 0}, "action offset"),
    ],
)
def test_another_contract_is_refused(ours, change, message):
    with pytest.raises(UserMistake, match=message):
        Engine.load(ours).check(replace(POLICY, **change), 3)


def test_another_embodiment_is_refused(ours):
    engine = Engine.load(ours)
    with pytest.raises(UserMistake, match="embodiment id: trained with 3, the task asks for 4"):
        engine.check(POLICY, 4)
    with pytest.raises(UserMistake, match="trained for embodiment 3"):
        engine.infer([np.zeros((9, 9, 3), np.uint8)], [], "go", None, 4, 20.0)


def test_aliases_alone_are_enough_and_both_dino_spellings_load(copy, golden):
    def only_aliases(tensors):
        for key in list(tensors):
            if key.startswith(("policy_backend.flow.", "policy_backend.vlm.")):
                del tensors[key]
            elif "vision_encoder.model.layer." in key:
                tensors[key.replace("model.layer.", "model.model.layer.")] = tensors.pop(key)

    rewrite(copy / "final_model" / "pytorch_model.pt", only_aliases)
    loaded = load_checkpoint(copy).model.state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in golden.model.state_dict().items())


def test_disagreeing_alias_is_refused(copy):
    def disagree(tensors):
        tensors["policy_action_head.cfg_embeddings"] = tensors["policy_action_head.cfg_embeddings"] + 1

    rewrite(copy / "final_model" / "pytorch_model.pt", disagree)
    with pytest.raises(UserMistake, match="cfg_embeddings is stored twice"):
        load_checkpoint(copy)


def _without(tensors):
    del tensors["policy_backend.act_query"]


def _with_extra(tensors):
    tensors["policy_backend.surplus"] = torch.zeros(1)


def _misshapen(tensors):
    tensors["policy_backend.act_query"] = torch.zeros(3, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without, r"1 of \d+ tensors are missing, first policy_backend.act_query"),
        (_with_extra, "1 unknown tensors, first policy_backend.surplus"),
        (_misshapen, r"act_query: expected shape \(4, 64\) from config.yaml, got \(3, 3\)"),
    ],
)
def test_wrong_tensors_are_named(copy, change, message):
    target = canonical(copy / "final_model" / "pytorch_model.pt")
    tensors = load_file(target)
    change(tensors)
    save_file(tensors, target)
    with pytest.raises(UserMistake, match=message):
        load_checkpoint(copy)


def test_number_of_state_dimensions_follows_the_weights(copy):
    path = SMALL / "assets" / "lam" / "dino_tiny_vae.yaml"
    lam = yaml.safe_load(path.read_text())
    lam["model"]["max_state_dim"] = 99
    (copy.parents[1] / "assets" / "lam" / path.name).write_text(yaml.safe_dump(lam))
    assert load_checkpoint(copy).config.lam.max_state_dim == 16


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.yaml", "expected config.yaml"),
        ("dataset_statistics.json", "expected dataset statistics"),
        ("final_model/pytorch_model.pt", "found neither"),
        ("../../assets/qwen3vl-tiny/config.json", "describes the architecture"),
        ("../../assets/dinov3-tiny/config.json", "describes the architecture"),
        ("../../assets/lam/dino_tiny_vae.yaml", "lam_yaml_path says"),
    ],
)
def test_missing_files_are_named(copy, name, message):
    (copy / name).unlink()
    with pytest.raises(UserMistake, match=message):
        load_checkpoint(copy)


def test_missing_folder_and_garbage_are_named(copy):
    with pytest.raises(UserMistake, match="found nothing at"):
        load_checkpoint(copy / "nowhere")
    (copy / "final_model" / "pytorch_model.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(UserMistake, match="not a readable checkpoint file"):
        load_checkpoint(copy)


def test_statistics_with_nan_are_refused(copy):
    path = copy / "dataset_statistics.json"
    content = json.loads(path.read_text())
    content["franka"]["action"]["max"][2] = float("nan")
    path.write_text(json.dumps(content))
    with pytest.raises(UserMistake, match="franka.action.max: expected finite numbers"):
        load_checkpoint(copy)


def test_third_party_encoder_is_named_not_stored(tmp_path, golden, statistics):
    """EfficientNet weights belong to no checkpoint, and those of another version are refused."""
    small = golden.config
    vision = {"model_type": "efficientnet_lite0"}
    config = replace(small, vision_encoder=vision, flow=replace(small.flow, vision_dim=112))
    model = build_model(config)
    run = save_checkpoint(tmp_path / "run", model, statistics, FACTS, PromptEncoder(config).tokenizer)
    stored = load_file(run / "final_model" / "model.safetensors")
    assert not [key for key in stored if "vision_encoder" in key]
    loaded = load_checkpoint(run)
    frame = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)
    assert torch.equal(loaded.model.encode_images(frame), model.encode_images(frame))
    path = run / "vision_encoder" / "config.json"
    written = json.loads(path.read_text())
    assert set(written) == {"model_type", "code_package", "code_version", "weights_package", "weights_version", "weights_sha256"}
    path.write_text(json.dumps(written | {"weights_sha256": "0" * 64}))
    with pytest.raises(UserMistake, match="trained with vision encoder weights_sha256 0000"):
        load_checkpoint(run)


def test_tiny_configuration_is_complete():
    config = load_model_config("tiny")
    assert config.flow.action_horizon >= int(config.flow.horizon_s * 20.0)
    assert config.feature_dim == config.flow.vision_dim == 112
