"""Numbers of the official implementation: the small case of this repository always, the whole set where it is at hand."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.checkpoint import load_checkpoint, load_stored_state, read_tensors
from lawam_ros.model.config import load_model_config
from lawam_ros.model.flow_head import time_grid
from lawam_ros.model.image_preparation import prepare_image
from lawam_ros.model.normalisation import (
    denormalise,
    denormalise_actions,
    normalise,
    normalise_state,
    statistics_from_mapping,
)
from lawam_ros.model.parity import ACTIONS, HIDDEN, run_case, uncompared
from lawam_ros.model.position_codes import physical_time_code
from lawam_ros.model.prompt import PromptEncoder, placeholder_masks, prompt_texts

REPOSITORY = Path(__file__).parents[3]
SMALL = REPOSITORY / "test" / "data" / "golden_small"
FULL = Path(os.environ.get("LAWAM_GOLDEN", REPOSITORY.parent / "shared" / "golden"))
needs_full = pytest.mark.skipif(not (FULL / "cases").is_dir(), reason="the whole golden set is not at hand (LAWAM_GOLDEN)")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_small_case_with_all_intermediate_tensors():
    rows = run_case(SMALL, "A")
    assert [row for row in rows if not row.ok] == []
    names = {row.tensor for row in rows}
    assert {"vlm/h_vlm", "vlm/deepstack_1", "lam/h_t", "lam/h_t1_pred", "flow/velocity_cond_step9", "out/unnormalized_actions"} <= names
    # The last vision block feeds nothing, so it is not computed.
    assert uncompared(SMALL, "A", rows) == ["dino/layer_2_out", "flow/noise", "inputs/primary/0/0"]
    assert max(row.tolerance for row in rows) <= ACTIONS
    assert {row.tolerance for row in rows if row.tensor.startswith(("vlm/h", "lam/", "dino/"))} == {HIDDEN}


def test_small_folder_stays_small():
    assert sum(path.stat().st_size for path in SMALL.rglob("*") if path.is_file()) < 8 * 2**20


def test_unknown_case_is_named():
    with pytest.raises(UserMistake, match="no golden case 'Z'.*there are: A"):
        run_case(SMALL, "Z")


@needs_full
@pytest.mark.parametrize("case", ["A", "B", "B_mixed_length", "C"])
def test_inference_case(case):
    rows = run_case(FULL, case)
    assert [row for row in rows if not row.ok] == []
    assert len(rows) > 30


def _case(name):
    return json.loads((FULL / "cases" / f"{name}.json").read_text()), load_file(FULL / "cases" / f"{name}.safetensors")


@needs_full
def test_image_preparation():
    settings, tensors = _case("image_prep")
    size = settings["target_hw"][0]
    inputs = [name for name in tensors if name.endswith("/input")]
    assert len(inputs) >= 8
    for name in inputs:
        image = tensors[name].numpy()
        for variant in ("plain", "center_crop_90"):
            got = prepare_image(image, size, centre_crop_90=variant == "center_crop_90").permute(1, 2, 0)
            assert torch.equal(got, tensors[name.replace("input", variant)]), (name, variant)


@needs_full
def test_helpers():
    settings, tensors = _case("helpers")
    for index, grid in settings["time_grid"].items():
        time_s, valid, count = time_grid(torch.tensor(grid["hz"]), grid["horizon_sec"], grid["seq_len"])
        assert torch.allclose(time_s, tensors[f"time_grid/{index}/t"], atol=1e-7)
        assert torch.equal(valid, tensors[f"time_grid/{index}/valid"])
        assert torch.equal(count, tensors[f"time_grid/{index}/count"])
    for width in (64, 7, 80):
        got = physical_time_code(tensors["time_encoding/input"], width)
        assert torch.allclose(got, tensors[f"time_encoding/dim{width}"], atol=1e-6)
    masks = settings["masks"]
    act, flow = placeholder_masks(tensors["masks/input_ids"], masks["placeholder_id"], masks["act_queries"], masks["flow_queries"])
    assert torch.equal(act, tensors["masks/act"])
    assert torch.equal(flow, tensors["masks/flow"])


@needs_full
def test_prompt_texts():
    config = load_model_config("tiny")
    for prompt in _case("helpers")[0]["prompts"]:
        sized = replace(config, action_queries=prompt["act"], flow_queries=prompt["flow"])
        assert prompt_texts(prompt["instruction"], sized) == (prompt["before_wrist"], prompt["after_wrist"])


@needs_full
def test_normalisation():
    settings, tensors = _case("normalization")

    def statistics(name):
        return statistics_from_mapping(name, {"action": settings["stats"][name]}, "golden").action

    data, raw = statistics("dataset_transform"), tensors["raw"].numpy()
    for mode in ("min_max", "q99", "binary", "mean_std"):
        forward = normalise(raw, data, mode)
        np.testing.assert_allclose(forward, tensors[f"dataset_transform/{mode}/forward"], atol=1e-6)
        np.testing.assert_allclose(denormalise(forward, data, mode), tensors[f"dataset_transform/{mode}/inverse_of_forward"], atol=1e-6)
    for name, key in (("min_max_and_q", "min_max"), ("q_only", "q")):
        plain = statistics(name)
        np.testing.assert_allclose(normalise_state(raw, plain), tensors[f"libero/normalize_state/{key}"], atol=1e-6)
        masked = statistics_from_mapping(
            name, {"action": settings["stats"][name] | {"mask": [True] * (plain.size - 1) + [False]}}, "golden"
        ).action
        for stats, suffix in ((plain, ""), (masked, "_mask_last")):
            got = denormalise_actions(tensors["normalized_policy_output"].numpy(), stats, snap_dims=(plain.size - 1,))
            np.testing.assert_allclose(got, tensors[f"libero/unnormalize/{key}{suffix}"], atol=1e-6)


@dataclass
class _Check:
    tensors: dict

    def __call__(self, got, name):
        assert torch.allclose(got, self.tensors[name], atol=1e-4), (name, float((got - self.tensors[name]).abs().max()))


@needs_full
def test_latent_action_model():
    """Inverse-dynamics encoder, bottleneck, world model and state predictor of stage 1."""
    _, tensors = _case("lam_stage1")
    check = _Check(tensors)
    model = load_checkpoint(FULL / "runs" / "nostate").model
    stage1 = read_tensors(FULL / "assets" / "lam" / "checkpoints" / "pytorch_model.pt")
    rest = {"policy_backend." + key: tensor for key, tensor in model.state_dict().items() if not key.startswith("lam.")}
    load_stored_state(model, rest | {"policy_backend." + key: tensor for key, tensor in stage1.items()}, "golden")
    lam, frames = model.lam, tensors["inputs/frames"]
    with torch.inference_mode():
        features = model.encode_images(frames)
        second = model.encode_images((0.8 * frames.float()).floor().to(torch.uint8))
        check(features, "lam/encoder_input_features")
        nodes = lam.encoder(features)
        check(nodes, "lam/encoder_nodes")
        mean, log_variance = lam.vq.unclamped(nodes)
        check(mean, "lam/mu")
        check(log_variance, "lam/logvar_before_clamp")
        mean, log_variance = lam.vq(nodes)
        z = lam.vq.sample(mean, log_variance, tensors["lam/eps"])
        check(z, "lam/z")
        assert 5e-5 * float(lam.vq.divergence(mean, log_variance)) == pytest.approx(float(tensors["lam/vq_loss"]), rel=1e-4)
        check(lam.decoder(second[:, 0], z)[:, None], "lam/recon")
        mask = tensors["batch/state_mask"][:, 0]
        change = lam.state_decoder(z, tensors["batch/states"][:, 0] * mask, tensors["batch/embodiment_ids"])
        check(change * mask, "lam/delta_state_pred")


@needs_full
@pytest.mark.parametrize("case", ["policy_train_T1", "policy_train_T4"])
def test_training_forward(case):
    """From images to the velocity at given noise and times: repeated block-wise (T1); with state and one time per token (T4)."""
    settings, tensors = _case(case)
    inputs = _case("policy_train_T1")[1] | tensors
    check = _Check(tensors)
    model = load_checkpoint(FULL / settings["run"]).model
    prompts = PromptEncoder(model.config).batch([(example["lang"], 1, example["n_wrist"]) for example in settings["examples"]])
    assert torch.equal(prompts.input_ids, inputs["batch/input_ids"])
    videos = [inputs[f"inputs/primary_videos/{i}"][0] for i in range(3)]
    frames = torch.cat([frame for i in range(3) for frame in (videos[i][:1], inputs[f"inputs/wrist_images/{i}"])])
    noise = tensors["draw/flow_noise"].reshape(6, *inputs["batch/actions"].shape[1:])
    tau = tensors["draw/flow_time"].reshape(6, -1)
    x = (1 - tau[..., None]) * noise + tau[..., None] * inputs["batch/actions"].repeat(2, 1, 1)
    bucket = (tau * 1000).long().clamp(0, 999)
    twice = {
        key: inputs[f"batch/{key}"].repeat(2, *[1] * (inputs[f"batch/{key}"].ndim - 1))
        for key in ("action_hz", "embodiment_id", "state", "state_mask")
    }
    with torch.inference_mode():
        language = model.vlm_forward(prompts, frames)
        check(language.z, "policy/pred_action_emb")
        features = model.encode_images(torch.stack(videos))
        check(model.lam.teacher_latent(features), "policy/teacher_latent")
        h_t1 = model.lam.decoder(features[:, 0], language.z)
        context = model.flow.context(features[:, 0], h_t1, language.h_vlm, language.attention_mask)
        velocity = model.flow.velocity(x, bucket[:, 0] if tau.shape[1] == 1 else bucket, context, **twice)
    valid = time_grid(twice["action_hz"], model.config.flow.horizon_s, x.shape[1])[1]
    assert torch.allclose(velocity[valid], tensors["policy/velocity_pred"][valid], atol=ACTIONS)
