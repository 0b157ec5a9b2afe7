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
    loaded = load_checkpoint(run, for_inference=True, embodiment_id=4)
    assert torch.equal(loaded.model.flow.action_encoder.W2.W, weights[FACTS.embodiment_id :][:1])
    assert (loaded.embodiment_id, loaded.embodiment_row(FACTS.embodiment_id)) == (FACTS.embodiment_id, 0)
    with pytest.raises(UserMistake, match="holds the layers of embodiment 3 only, got 4"):
        loaded.embodiment_row(4)
    whole = load_checkpoint(run)
    assert torch.equal(whole.model.flow.action_encoder.W2.W[FACTS.embodiment_id], weights[FACTS.embodiment_id])
    others = [i for i in range(len(weights)) if i != FACTS.embodiment_id]
    assert torch.isnan(whole.model.flow.action_encoder.W2.W[others]).all()
    assert whole.embodiment_row(FACTS.embodiment_id) == FACTS.embodiment_id


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


def edit_statistics(run, change):
    path = run / "dataset_statistics.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda content: content["franka"]["action"]["max"].__setitem__(2, -9.0),
            "{path}: franka.action: expected min <= max, got min -0.2341 and max -9 at dimension 2; compute the statistics again",
        ),
        (
            lambda content: content["franka"]["state"]["q01"].__setitem__(0, 5.0),
            "{path}: franka.state: expected q01 <= q99, got q01 5 and q99 0.7661 at dimension 0; compute the statistics again",
        ),
        (
            lambda content: content["franka"]["action"]["min"].__setitem__(0, float("-inf")),
            "{path}: franka.action.min: expected finite numbers, got NaN or infinity; compute the statistics again",
        ),
        (
            lambda content: content["franka"]["action"].update(std="small"),
            "{path}: franka.action.std: expected a list of numbers, got 'small'; compute the statistics again",
        ),
        (lambda content: content.clear(), "{path}: expected statistics per embodiment tag, got dict without any"),
    ],
)
def test_statistics_that_cannot_be_right_are_refused(copy, change, message):
    path = edit_statistics(copy, change)
    with pytest.raises(UserMistake) as caught:
        load_checkpoint(copy)
    assert str(caught.value) == message.format(path=path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("for_inference", [False, True])
def test_weights_that_are_not_finite_are_named(copy, value, for_inference):
    target = canonical(copy / "final_model" / "pytorch_model.pt")
    tensors = load_file(target)
    tensors["policy_backend.flow.enc_vlm.net.0.weight"][3, 1] = value
    save_file(tensors, target)
    with pytest.raises(UserMistake) as caught:
        load_checkpoint(copy, for_inference=for_inference)
    assert str(caught.value) == (
        f"{target}: tensor policy_backend.flow.enc_vlm.net.0.weight holds NaN or infinity; the training that wrote it diverged, or the "
        "file is damaged"
    )


def edit_config(run, change):
    content = yaml.safe_load((run / "config.yaml").read_text())
    change(content["framework"]["action_model"]["flow_cfg"], content["datasets"]["vla_data"])
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    return run / "config.yaml"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda flow, data: flow.update(depth=3, width=4), "{path}: unknown key(s) depth, width in flow_cfg"),
        (
            lambda flow, data: data.update(sec_chunk=0.40001),
            "{path}: flow_cfg.horizon_sec is 0.4 s but datasets.vla_data.sec_chunk is 0.40001 s; expected the same number",
        ),
        (
            lambda flow, data: flow.update(horizon_sec="long"),
            "{path}: expected seconds in flow_cfg.horizon_sec and datasets.vla_data.sec_chunk, got ('long', 0.4)",
        ),
        (lambda flow, data: flow.pop("horizon_sec"), "{path}: key 'horizon_sec' is missing; expected the configuration of a LaWAM run"),
        (
            lambda flow, data: flow.update(use_alternate_vldit=False),
            "{path}: flow_cfg.use_alternate_vldit: only true is supported",
        ),
    ],
)
def test_configurations_that_contradict_themselves_are_refused(copy, change, message):
    path = edit_config(copy, change)
    with pytest.raises(UserMistake) as caught:
        load_checkpoint(copy)
    assert str(caught.value) == message.format(path=path)


def test_a_horizon_that_differs_by_rounding_is_the_same(copy):
    edit_config(copy, lambda flow, data: data.update(sec_chunk=0.4 + 5e-7))
    assert load_checkpoint(copy).config.flow.horizon_s == 0.4
    edit_config(copy, lambda flow, data: data.pop("sec_chunk"))
    assert load_checkpoint(copy).config.flow.horizon_s == 0.4


def test_absent_architecture_files_are_one_sentence_each(copy):
    assets = copy.parents[1] / "assets"
    for folder in ("dinov3-tiny", "qwen3vl-tiny"):
        (assets / folder / "config.json").unlink()
        with pytest.raises(UserMistake) as caught:
            load_checkpoint(copy)
        assert str(caught.value) == (
            f"expected {(assets / folder / 'config.json').resolve()}, found no such file; it describes the architecture and belongs to the "
            "checkpoint"
        )
    for name in ("tokenizer.json", "vocab.json"):
        (assets / "qwen3vl-tiny" / name).unlink()
    (assets / "qwen3vl-tiny" / "config.json").write_text("{}")
    with pytest.raises(UserMistake, match=r"expected the tokenizer of the base model \(tokenizer.json and .*\) in .*; copy"):
        load_checkpoint(copy)
    shutil.rmtree(assets / "qwen3vl-tiny")
    with pytest.raises(UserMistake, match="base_vlm says 'assets/qwen3vl-tiny', which exists neither .*; put config.json, tok"):
        load_checkpoint(copy)


def test_what_the_training_knew_of_delays_and_data_is_kept(tmp_path, golden, statistics):
    facts = replace(FACTS, trained_delay_steps=4, noise_scale=0.5, data_sha256="0123456789abcdef" * 4)
    run = save_checkpoint(tmp_path / "run", golden.model, statistics, facts, PromptEncoder(golden.config).tokenizer)
    assert load_checkpoint(run).facts == facts
    content = yaml.safe_load((run / "config.yaml").read_text())
    for key in ("trained_delay_steps", "noise_scale", "data_sha256"):
        del content["lawam_ros"][key]
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    assert load_checkpoint(run).facts == replace(FACTS, trained_delay_steps=0, noise_scale=1.0, data_sha256="")
    wrong = (
        ("trained_delay_steps", -1, "expected an integer"),
        ("noise_scale", 1.5, "expected a number"),
        ("data_sha256", "abc", "expected 64 hexadecimal digits"),
    )
    for key, value, message in wrong:
        (run / "config.yaml").write_text(yaml.safe_dump(content | {"lawam_ros": content["lawam_ros"] | {key: value}}))
        with pytest.raises(UserMistake, match=f"lawam_ros.{key}: {message}"):
            load_checkpoint(run)


def test_rows_added_to_the_vocabulary_are_kept(copy, golden):
    """The official code grows the embedding when the tokenizer has more tokens than the base model; its config.json does not say so."""
    target = canonical(copy / "final_model" / "pytorch_model.pt")
    tensors = load_file(target)
    name = "policy_backend.vlm.model.language_model.embed_tokens.weight"
    tensors[name] = torch.cat([tensors[name], torch.zeros(3, tensors[name].shape[1], dtype=tensors[name].dtype)])
    save_file(tensors, target)
    loaded = load_checkpoint(copy)
    assert loaded.config.base_vlm["text_config"]["vocab_size"] == golden.config.base_vlm["text_config"]["vocab_size"] + 3


def test_aliases_of_another_type_are_the_same_tensor(copy, golden):
    def retype(tensors):
        for key in tensors:
            if key.startswith("policy_vlm_adapter."):
                tensors[key] = tensors[key].float()

    rewrite(copy / "final_model" / "pytorch_model.pt", retype)
    assert torch.equal(load_checkpoint(copy).model.act_query, golden.model.act_query)


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
