"""Numbers of the official implementation: the small cases of this repository always, the whole set where it is at hand."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from golden import golden_folders

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.checkpoint import load_checkpoint
from lawam_ros.model.flow_head import time_grid
from lawam_ros.model.parity import ACTIONS, HIDDEN, compare, read_case, uncompared
from lawam_ros.model.parity_inference import compare_inference
from lawam_ros.model.parity_parts import compare_helpers, compare_image_preparation, compare_normalisation
from lawam_ros.model.parity_stage1 import compare_stage1
from lawam_ros.model.prompt import PromptEncoder

REPOSITORY = Path(__file__).parents[3]
SMALL = REPOSITORY / "test" / "data" / "golden_small"
FULL = Path(os.environ.get("LAWAM_GOLDEN", REPOSITORY.parent / "shared" / "golden"))
needs_full = pytest.mark.skipif(not (FULL / "cases").is_dir(), reason="the whole golden set is not at hand (LAWAM_GOLDEN)")


def failed(rows):
    return [row for row in rows if not row.ok]


def test_small_case_with_all_intermediate_tensors():
    case = read_case(SMALL, "A")
    rows = compare_inference(case)
    assert failed(rows) == []
    names = {row.tensor for row in rows}
    assert {"vlm/h_vlm", "vlm/deepstack_1", "lam/h_t", "lam/h_t1_pred", "flow/velocity_cond_step9", "out/unnormalized_actions"} <= names
    # The last vision block feeds nothing, so it is not computed.
    assert uncompared(case, rows) == ["dino/layer_2_out", "flow/noise", "inputs/primary/0/0"]
    assert max(row.tolerance for row in rows) <= ACTIONS
    assert {row.tolerance for row in rows if row.tensor.startswith(("vlm/h", "lam/", "dino/"))} == {HIDDEN}


def test_small_folder_stays_small():
    assert sum(path.stat().st_size for path in SMALL.rglob("*") if path.is_file()) < 8 * 2**20


def test_unknown_case_is_named():
    with pytest.raises(UserMistake, match="no golden case 'Z'.*there are: A"):
        read_case(SMALL, "Z")


@pytest.mark.parametrize(
    ("wanted", "got", "tolerance", "error"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5, 0.5),
        ([1.0, 2.0], [1.0, 2.0, 3.0], 0.5, float("inf")),
        ([], [], 0.0, 0.0),
        ([True, False], [True, True], 0.0, 1.0),
    ],
)
def test_comparison(wanted, got, tolerance, error):
    row = compare("x", torch.tensor(wanted), torch.tensor(got), tolerance)
    assert row.max_abs_error == error
    assert row.ok == (error <= tolerance)


def test_nan_is_never_within_tolerance():
    assert not compare("x", torch.tensor([1.0]), torch.tensor([float("nan")]), ACTIONS).ok


@needs_full
@pytest.mark.parametrize("case", ["A", "B", "B_mixed_length", "C"])
def test_inference_case(case):
    rows = compare_inference(read_case(FULL, case))
    assert failed(rows) == []
    assert len(rows) > 30


@pytest.mark.parametrize(
    ("name", "comparison", "inputs"),
    [
        ("image_prep", compare_image_preparation, r".*/input"),
        ("helpers", compare_helpers, r"masks/input_ids|time_encoding/input"),
        ("normalization", compare_normalisation, r"raw|normalized_policy_output|robotwin/(raw14|normalized\d+)"),
    ],
)
@pytest.mark.parametrize("folder", golden_folders("cases/helpers.json"), ids=lambda path: path.name)
def test_parts(folder, name, comparison, inputs):
    case = read_case(folder, name)
    rows = comparison(case)
    assert failed(rows) == []
    assert len(rows) > 8
    assert all(re.fullmatch(inputs, left) for left in uncompared(case, rows))


@needs_full
def test_latent_action_model():
    """Inverse-dynamics encoder, bottleneck, world model and state predictor of stage 1."""
    case = read_case(FULL, "lam_stage1")
    rows = compare_stage1(case)
    assert failed(rows) == []
    named = ("lam/", "eval/")
    assert [name for name in uncompared(case, rows) if name.startswith(named)] == ["lam/eps"]


@dataclass
class _Check:
    tensors: dict

    def __call__(self, got, name):
        row = compare(name, self.tensors[name], got, HIDDEN)
        assert row.ok, row


@needs_full
@pytest.mark.parametrize("case", ["policy_train_T1", "policy_train_T4"])
def test_training_forward(case):
    """From images to the velocity at given noise and times: repeated block-wise (T1); with state and one time per token (T4)."""
    golden = read_case(FULL, case)
    settings, tensors = golden.settings, golden.tensors
    inputs = {**read_case(FULL, "policy_train_T1").tensors, **tensors}
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
