"""The same weights as official run and as LeRobot folder, at other sizes, with three wrist cameras, state and guidance: equal actions."""

import json
import shutil

import numpy as np
import pytest
import torch
from random_run import SMALL, assets, official_tensors, random_model, run_config, vectors, write_run
from safetensors.torch import save_file

from lawam_ros.model.checkpoint import load_checkpoint, open_folder
from lawam_ros.model.parity import ACTIONS, HIDDEN, read_case
from lawam_ros.model.parity_inference import trace_case
from lawam_ros.model.parity_lerobot import compare_lerobot

SIZE, STATES = 9, 6
CAMERAS = [f"observation.images.{name}" for name in ("top", "left", "right", "tool")]
STATISTICS = {"franka": {"action": vectors(SIZE, 1), "state": vectors(STATES, 2)}}
LAM = {
    "dim": 72, "num_heads": 6, "code_dim": 24, "num_queries": 2, "dec_layers": 1, "enc_layers": 1, "max_state_dim": 9, "num_embodiments": 5,
}  # fmt: skip
DINO = {"hidden_size": 80, "num_attention_heads": 5, "num_register_tokens": 1, "num_hidden_layers": 3, "intermediate_size": 96}
FLOW = {
    "action_dim": 11, "state_dim": 7, "use_state": True, "hidden_dim": 60, "attention_heads": 6, "num_layers": 5,
    "num_target_vision_tokens": 2, "attend_text_every_n_blocks": 1, "num_timestep_buckets": 50, "num_embodiments": 9,
    "cfg_guidance_scale": 1.3, "num_inference_steps": 3,
}  # fmt: skip
QUERIES = {"num_action_queries": 2, "flow_action_num_queries": 3}


def lerobot_folder(root, state, mode):
    """The small LeRobot folder with the fields of these sizes."""
    folder = root / "lerobot" / "other"
    shutil.copytree(SMALL / "lerobot" / "nostate", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {f"lam_{key}": value for key, value in LAM.items()} | {f"dinov3_{key}": value for key, value in DINO.items()}
    config |= {f"flow_{key}": value for key, value in FLOW.items()} | QUERIES
    config |= {"keep_llm_first_n_layers": 2, "flow_vlm_dim": 64, "action_horizon": 6, "chunk_size": 12}
    config["output_features"] = {"action": {"type": "ACTION", "shape": [SIZE]}}
    (folder / "config.json").write_text(json.dumps(config))
    scaling = {"norm_map": {"VISUAL": "IDENTITY", "STATE": "QUANTILES", "ACTION": mode}}
    roles = {"primary_image_features": CAMERAS[:1], "wrist_image_features": CAMERAS[1:], "lam_image_feature": CAMERAS[0]}
    before = json.loads((folder / "policy_preprocessor.json").read_text())
    for step in before["steps"]:
        changes = {
            "normalizer_processor": scaling,
            "lawam_qwen_inputs": roles | {"act_queries": 2, "flow_queries": 3},
            "lawam_prepare_batch": {"action_horizon": 6, "chunk_size": 12, "action_hz": 15.0, "embodiment_id": 7}
            | {"lam_image_feature": CAMERAS[0]},
        }
        step["config"] |= changes.get(step["registry_name"], {})
    (folder / "policy_preprocessor.json").write_text(json.dumps(before))
    after = json.loads((folder / "policy_postprocessor.json").read_text())
    after["steps"] = [step for step in after["steps"] if step["registry_name"] == "unnormalizer_processor"]
    after["steps"][0]["config"] |= scaling
    (folder / "policy_postprocessor.json").write_text(json.dumps(after))
    entry = STATISTICS["franka"]
    vector = {f"action.{key}": torch.tensor(value) for key, value in entry["action"].items() if key != "mask"}
    vector |= {f"observation.state.{key}": torch.tensor(value) for key, value in entry["state"].items() if key != "mask"}
    save_file(vector, folder / after["steps"][0]["state_file"])
    save_file({"model." + key: tensor.clone() for key, tensor in state.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("mode", ["MEAN_STD", "QUANTILES", "IDENTITY"])
def test_a_lerobot_folder_gives_the_actions_of_the_official_run(tmp_path, mode):
    torch.set_num_threads(1)
    assets(tmp_path, dino=DINO, lam=LAM)
    content = run_config(FLOW | {"horizon_sec": 0.4}, QUERIES | {"action_horizon": 12}, layers=2)
    run = write_run(tmp_path, content, STATISTICS, {})
    model = random_model(open_folder(run).config)
    torch.save(official_tensors(model), run / "final_model" / "pytorch_model.pt")
    lerobot_folder(tmp_path, official_tensors(model, dino_of_5_4=True, aliases=False), mode)
    loaded = load_checkpoint(tmp_path / "lerobot" / "other")
    theirs = model.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in loaded.model.state_dict().items())

    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)) for _ in CAMERAS]
    low, high = (torch.tensor(STATISTICS["franka"]["state"][name]) for name in ("q01", "q99"))
    raw, noise = low + 0.3 * (high - low), torch.randn(1, 12, 11)
    example = {"lang": "go", "action_hz": 15.0, "embodiment_id": 7, "n_primary": 1, "n_wrist": 3, "has_state": True}
    settings = {"guidance_scale": 1.3, "num_inference_steps": None, "examples": [example]}
    inputs = {"inputs/primary/0/0": images[0], **{f"inputs/wrist/0/{i}": image for i, image in enumerate(images[1:])}, "flow/noise": noise}
    inputs |= {"inputs/state_normalized/0": 2 * (raw - low) / (high - low) - 1}
    official = trace_case(load_checkpoint(run), settings, inputs)["out/normalized_actions"][..., :SIZE]

    statistics = {name: torch.tensor(values) for name, values in STATISTICS["franka"]["action"].items()}
    physical = {
        "IDENTITY": official,
        "MEAN_STD": official * statistics["std"] + statistics["mean"],
        "QUANTILES": (official + 1) / 2 * (statistics["q99"] - statistics["q01"]) + statistics["q01"],
    }[mode]
    cases = tmp_path / "lerobot" / "cases"
    cases.mkdir()
    stored = {f"inputs/{camera}_256": image.permute(2, 0, 1).contiguous() for camera, image in zip(CAMERAS, images, strict=True)}
    stored |= {"inputs/noise": noise[:, :6].contiguous(), "inputs/state": raw, "out_256/action_chunk_normalized": official.contiguous()}
    save_file(stored | {"out_256/action_chunk_postprocessed": physical.contiguous()}, cases / "other.safetensors")
    setting = {"run": "lerobot/other", "weights": "lerobot/other/model.safetensors", "task": "go"}
    (cases / "other.json").write_text(json.dumps(setting))
    rows = {row.tensor: row for row in compare_lerobot(read_case(tmp_path, "other", "lerobot/cases"))}
    assert set(rows) == {"out_256/action_chunk_normalized", "out_256/action_chunk_postprocessed"}
    assert all(row.max_abs_error < HIDDEN < ACTIONS for row in rows.values())
    assert official.shape == (1, 6, SIZE)
