"""Nothing is tuned to the sizes of the recorded folders: models of other sizes survive the official layout, and parity runs on them."""

import json

import numpy as np
import pytest
import torch
from random_run import SMALL, assets, official_tensors, random_model, run_config, vectors, write_run
from safetensors.torch import save_file

from lawam_ros.model.checkpoint import load_checkpoint, open_folder
from lawam_ros.model.image_preparation import prepare_image, to_uint8_rgb
from lawam_ros.model.parity import ACTIONS, read_case
from lawam_ros.model.parity_inference import compare_inference, trace_case
from lawam_ros.model.parity_parts import compare_image_preparation, compare_normalisation
from lawam_ros.model.prompt import PromptEncoder, chat_text

STATISTICS = {
    "franka": {"action": vectors(5, 1, masked=(4,)), "state": vectors(6, 2)},
    "agilex": {"action": vectors(16, 3), "state": vectors(16, 4)},
    "new_embodiment": {"action": vectors(14, 5), "state": vectors(14, 6)},
    "ur": {"action": vectors(14, 7, masked=(6, 13))},
    "gr1": {"action": vectors(14, 8, masked=(12, 13))},
}
WIDE = {
    "assets": {
        "vlm": {
            "text": {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 3, "intermediate_size": 80, "vocab_size": 440},
            "vision": {"out_hidden_size": 96, "hidden_size": 48, "num_heads": 3, "depth": 4, "deepstack_visual_indexes": [1, 3]},
        },
        "dino": {"hidden_size": 80, "num_attention_heads": 5, "num_register_tokens": 2, "num_hidden_layers": 4, "intermediate_size": 96},
        "lam": {"dim": 72, "num_heads": 6, "code_dim": 24, "num_queries": 3, "dec_layers": 3, "enc_layers": 1, "max_state_dim": 9},
    },
    "flow": {
        "action_dim": 20, "state_dim": 18, "use_state": True, "vlm_dim": 96, "hidden_dim": 60, "attention_heads": 6, "num_layers": 7,
        "num_target_vision_tokens": 3, "attend_text_every_n_blocks": 1, "num_timestep_buckets": 37, "horizon_sec": 0.7,
        "num_embodiments": 9, "cfg_drop_prob": 0.1, "cfg_guidance_scale": 1.7, "num_inference_steps": 4,
    },
    "action_model": {"action_horizon": 13, "future_action_window_size": 12, "num_action_queries": 3, "flow_action_num_queries": 5},
    "layers": 3,
}  # fmt: skip
PLAIN = {
    "assets": {"dino": {"num_register_tokens": 0}, "lam": {"ffn_expansion_factor": 2}},
    "flow": {"use_action_positional_embeddings": False, "attend_text_every_n_blocks": 3, "num_layers": 6, "action_dim": 20},
    "action_model": {"action_horizon": 10},
    "data": {"enable_primary_random_resized_crop": True, "CoT_prompt_before_wrist": "Do: {instruction}"},
    "layers": -1,
}


def write(root, sizes, seed=0, **spelling):
    """A golden root with one run of these sizes, and the model whose weights it holds."""
    assets(root, **sizes["assets"])
    content = run_config(sizes["flow"], sizes["action_model"], sizes.get("data"), sizes["layers"])
    run = write_run(root, content, STATISTICS, {})
    model = random_model(open_folder(run).config, seed)
    torch.save(official_tensors(model, **spelling), run / "final_model" / "pytorch_model.pt")
    return run, model


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize(("sizes", "spelling"), [(WIDE, {}), (PLAIN, {"dino_of_5_4": True, "aliases": False})], ids=["wide", "plain"])
def test_an_official_folder_gives_back_the_same_model(tmp_path, sizes, spelling):
    run, model = write(tmp_path, sizes, **spelling)
    loaded = load_checkpoint(run)
    theirs = model.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in loaded.model.state_dict().items())
    assert loaded.model.state_dict().keys() == theirs.keys()
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    frames = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)
    assert torch.equal(loaded.model.encode_images(frames), model.encode_images(frames))
    assert loaded.config.lam.max_state_dim == model.config.lam.max_state_dim


def case_of(run, client, tag, guidance, examples, steps=3, padded=False):
    """A golden case of a run as the recorder writes it, with the tensors of this implementation."""
    checkpoint = load_checkpoint(run)
    flow, rng = checkpoint.config.flow, np.random.default_rng(5)
    settings = {
        "run": "runs/other", "guidance_scale": guidance, "num_inference_steps": steps, "return_padded": padded, "stat_key": tag,
        "client": client, "examples": examples, "resized_frames_row_stride": 3, "pixel_values_rows_stride": 5,
        "primary_image_row_stride": 7,
        "chat_text_before_image_expansion": [chat_text(e["lang"], e["n_primary"], e["n_wrist"], checkpoint.config) for e in examples],
    }  # fmt: skip
    inputs = {"flow/noise": torch.randn(len(examples), flow.action_horizon, flow.action_dim)}
    for index, example in enumerate(examples):
        for kind in ("primary", "wrist"):
            for view in range(example[f"n_{kind}"]):
                grey, height = (index + view) % 2 == 1, 90 + 20 * view
                image = rng.random((height, 130) if grey else (height, 130, 3))
                stored = image.astype(np.float32) if view == 1 else (255 * image).astype(np.uint8)
                inputs[f"inputs/{kind}/{index}/{view}"] = torch.from_numpy(stored)
        if example["has_state"]:
            size = len(STATISTICS[tag]["state"]["mask"])
            raw = 2.0 * torch.rand(size) - 1.0
            low, high = (torch.tensor(STATISTICS[tag]["state"][bound]) for bound in ("min", "max"))
            inputs[f"inputs/state_raw/{index}"] = raw
            inputs[f"inputs/state_normalized/{index}"] = (2 * (raw - low) / (high - low) - 1).clip(-1, 1)[None]
    traces = trace_case(checkpoint, settings, inputs)
    recorded = {key: value[::3] if key.startswith("proc/resized_") else value for key, value in traces.items()}
    return settings, inputs | recorded


def store(root, name, settings, tensors):
    (root / "cases").mkdir(exist_ok=True)
    (root / "cases" / f"{name}.json").write_text(json.dumps(settings))
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, root / "cases" / f"{name}.safetensors")
    return read_case(root, name)


EXAMPLE = {"lang": "go", "action_hz": 15.0, "embodiment_id": 2, "n_primary": 1, "n_wrist": 3, "has_state": True}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    root = tmp_path_factory.mktemp("wide")
    run, _ = write(root, WIDE)
    examples = [EXAMPLE, {**EXAMPLE, "lang": "put it down there", "embodiment_id": 8, "n_primary": 2, "n_wrist": 0, "action_hz": 9.0}]
    return root, *case_of(run, "fold_towel", "new_embodiment", None, examples, steps=None, padded=True)


def test_parity_of_another_size_with_guidance_state_and_extra_tokens(wide):
    root, settings, tensors = wide
    rows = compare_inference(store(root, "sizes", settings, tensors))
    assert [row for row in rows if not row.ok] == []
    names = {row.tensor for row in rows}
    expected = {"flow/cond_state", "flow/velocity_uncond_step3", "flow/step0_dit_block_6_out", "vlm/deepstack_1"}
    expected |= {"proc/resized_wrist/0/2", "inputs/state_normalized/1"}
    assert expected <= names
    # Prefix tokens: one of the state, three learned ones.
    assert tensors["flow/step0_dit_out"].shape == (2, 4 + 13, 60)
    assert tensors["out/normalized_actions"].shape == (2, 13, 20)


def test_parity_notices_a_wrong_number_in_another_size(wide):
    root, settings, tensors = wide
    wrong = tensors | {"lam/h_t1_pred": tensors["lam/h_t1_pred"] + 2e-4}
    rows = compare_inference(store(root, "wrong", settings, wrong))
    assert {row.tensor for row in rows if not row.ok} == {"lam/h_t1_pred", "engine/0/lam/h_t1_pred", "engine/1/lam/h_t1_pred"}


def test_parity_of_a_cropped_run_without_state_or_time_code(tmp_path):
    run, _ = write(tmp_path, PLAIN)
    example = {**EXAMPLE, "action_hz": 25.0, "embodiment_id": 0, "n_wrist": 1, "has_state": False}
    settings, tensors = case_of(run, "libero", "franka", 1.0, [example])
    assert settings["chat_text_before_image_expansion"][0].count("Do: go\n<ACT_PH>") == 1
    rows = compare_inference(store(tmp_path, "plain", settings, tensors))
    assert [row for row in rows if not row.ok] == []
    assert "flow/cond_state" not in tensors and tensors["out/normalized_actions"].shape == (1, 10, 20)


def bounds(tag, quantity="action"):
    entry = STATISTICS[tag][quantity]
    return np.array(entry["min"], np.float32), np.array(entry["max"], np.float32)


def expected_libero(y):
    low, high = bounds("franka")
    y = np.clip(y[..., :5], -1, 1)
    snapped = (y[..., 4:] >= 0.5).astype(np.float32)
    return np.concatenate([0.5 * (y[..., :4] + 1) * (high - low)[:4] + low[:4], snapped], axis=-1)


def expected_franka(y):
    low, high = bounds("franka")
    y = np.clip(y[..., :5], -1, 1)
    return np.concatenate([0.5 * (y[..., :4] + 1) * (high - low)[:4] + low[:4], y[..., 4:]], axis=-1)


def expected_towel(y):
    low, high = bounds("new_embodiment")
    return 0.5 * (np.clip(y[..., :14], -1, 1) + 1) * (high - low) + low


def expected_joints(y):
    low, high = bounds("ur")
    y = np.clip(y[..., :14], -1, 1)
    value = 0.5 * (y + 1) * (high - low) + low
    for gripper in (6, 13):
        value[..., gripper] = 1.0 - (y[..., gripper] > 0.49)
    return value


def expected_pose(y):
    low, high = bounds("agilex")
    value = 0.5 * (np.clip(y[..., :16], -1, 1) + 1) * (high - low) + low
    for first in (0, 8):
        quaternion = y[..., first + 3 : first + 7]
        value[..., first + 3 : first + 7] = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
        value[..., first + 7] = 1 - value[..., first + 7]
    return value


@pytest.fixture(scope="module")
def plain_case(tmp_path_factory):
    root = tmp_path_factory.mktemp("clients")
    run, _ = write(root, PLAIN)
    return root, *case_of(run, "libero", "franka", 1.0, [{**EXAMPLE, "n_wrist": 0, "has_state": False}], steps=1)


@pytest.mark.parametrize(
    ("client", "tag", "expected"),
    [
        ("libero", "franka", expected_libero),
        ("franka", "franka", expected_franka),
        ("franka server", "franka", expected_franka),
        ("fold_towel", "new_embodiment", expected_towel),
        ("robotwin_eef", "agilex", expected_pose),
        ("robotwin", "agilex", expected_pose),
        ("robotwin_joint", "ur", expected_joints),
        ("robotwin", "ur", expected_joints),
    ],
)
def test_robot_units_follow_the_client(plain_case, client, tag, expected):
    root, settings, tensors = plain_case
    physical = torch.from_numpy(expected(tensors["out/normalized_actions"].numpy()))
    case = store(root, "client", settings | {"client": client, "stat_key": tag}, tensors | {"out/unnormalized_actions": physical})
    rows = {row.tensor: row for row in compare_inference(case)}
    assert rows["out/unnormalized_actions"].ok and rows["out/unnormalized_actions"].tolerance == ACTIONS
    assert all(row.ok for row in rows.values())


@pytest.mark.parametrize(
    ("client", "tag", "reason"),
    [
        ("aloha", "franka", "client: expected one of libero, franka, fold_towel, robotwin_eef, robotwin_joint, got 'aloha'"),
        (None, "franka", "got None"),
        ("libero", "panda", "not for embodiment 'panda'"),
        ("fold_towel", "franka", "client fold_towel: expected statistics of 14 dimensions, got 5"),
        ("robotwin_eef", "new_embodiment", "RoboTwin: expected statistics of 16 dimensions, got 14"),
        ("robotwin_joint", "gr1", "RoboTwin: expected the grippers at dimensions (6, 13) of 14, the mask of the statistics says (12, 13)"),
    ],
)
def test_a_client_whose_rules_are_unknown_is_a_reason_not_a_guess(plain_case, client, tag, reason):
    root, settings, tensors = plain_case
    recorded = tensors | {"out/unnormalized_actions": torch.zeros(1, 6, 5)}
    case = store(root, "client", settings | {"client": client, "stat_key": tag}, recorded)
    missed = [row for row in compare_inference(case) if not row.ok]
    assert [row.tensor for row in missed] == ["out/unnormalized_actions"]
    assert reason in missed[0].note


def test_parity_of_normalisation_follows_what_is_recorded(tmp_path):
    """Another width of the model output, and only some of the results."""
    case = read_case(SMALL, "normalization")
    tensors = {
        key: tensor for key, tensor in case.tensors.items() if "libero/unnormalize" not in key and not key.endswith("/scale/forward")
    }
    tensors["robotwin/normalized32"] = torch.nn.functional.pad(tensors.pop("robotwin/normalized20"), (0, 12))
    settings = {key: value for key, value in case.settings.items() if key != "tensors"}
    rows = {row.tensor: row for row in compare_normalisation(store(tmp_path, "less", settings, tensors))}
    assert all(row.ok for row in rows.values())
    assert "robotwin/unnormalize" in rows and len(rows) == 20 - 4 - 1
    settings["stats"] = {key: value for key, value in settings["stats"].items() if key != "robotwin14"}
    rows = {row.tensor: row for row in compare_normalisation(store(tmp_path, "none", settings, tensors))}
    missed = {key for key, row in rows.items() if not row.ok}
    assert missed == {"robotwin/unnormalize", "robotwin/normalize_state"}
    assert "expected RoboTwin statistics of 14 dimensions" in rows["robotwin/unnormalize"].note


def test_images_of_any_target_shape(tmp_path):
    image = torch.randint(0, 256, (50, 90, 3), dtype=torch.uint8)
    plain = prepare_image(image.numpy(), (32, 48)).permute(1, 2, 0)
    assert plain.shape == (32, 48, 3)
    case = store(tmp_path, "images", {"target_hw": [32, 48]}, {"a/input": image, "a/plain": plain})
    assert [row.ok for row in compare_image_preparation(case)] == [True]


def test_prompts_padded_on_the_left_give_the_same_states(tmp_path):
    run, _ = write(tmp_path, PLAIN)
    path = tmp_path / "assets" / "qwen3vl-tiny" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"padding_side": "left"}))
    loaded = load_checkpoint(run)
    encoder = PromptEncoder(loaded.config)
    prompts = [("go", 1, 0), ("put it down over there", 1, 1)]
    batch, frames = encoder.batch(prompts), torch.randint(0, 256, (3, 3, 256, 256), dtype=torch.uint8)
    assert batch.padded and not batch.attention_mask[0, 0] and batch.attention_mask[:, -1].all()
    together = loaded.model.vlm_forward(batch, frames)
    for row, (prompt, own) in enumerate(zip(prompts, (frames[:1], frames[1:]), strict=True)):
        alone = loaded.model.vlm_forward(encoder.batch([prompt]), own)
        torch.testing.assert_close(together.h_vlm[row, batch.attention_mask[row].bool()], alone.h_vlm[0], atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(together.z[row], alone.z[0], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_images_are_scaled_in_their_own_precision(dtype):
    image = (np.arange(256, dtype=np.uint8) / np.array(255, dtype)).astype(dtype)[None, :].repeat(3, axis=0)
    expected = (image * 255.0).astype(np.uint8)
    np.testing.assert_array_equal(to_uint8_rgb(image)[..., 0], expected)
    assert (image * 255.0).dtype == dtype
