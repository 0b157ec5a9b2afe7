"""Checkpoint folders in LeRobot's format: config.json, model.safetensors and two processor files with their statistics.

Two sets of fields exist: the current one has ``action_horizon`` (valid steps) and the rate in the preprocessor file; the older one has
``action_hz`` and ``flow_horizon_sec``. Unknown fields are ignored, missing ones have the defaults of LeRobot's policy ``lawam``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.architecture_files import base_vlm, read_json
from lawam_ros.model.config import AFTER_WRIST, BEFORE_WRIST, ModelConfig, assemble
from lawam_ros.model.lerobot_processing import FeatureScale, LeRobotProcessing, OutputStep
from lawam_ros.model.normalisation import DatasetStatistics, Statistics, Vector

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PROCESSORS = ("policy_preprocessor.json", "policy_postprocessor.json")
STATE, ACTION = "observation.state", "action"
TAG = "lerobot"
"""A folder has one set of statistics and no name for it."""
_DEFAULTS: dict[str, Any] = {
    "chunk_size": 50, "flow_horizon_sec": 0.4, "base_vlm": "Qwen/Qwen3-VL-2B-Instruct", "keep_llm_first_n_layers": 16,
    "lam_dim": 1024, "lam_num_heads": 16, "lam_ffn_expansion_factor": 4, "lam_enc_layers": 24, "lam_code_dim": 32,
    "lam_max_state_dim": 14, "lam_num_queries": 1, "lam_dec_layers": 12, "lam_dropout": 0.0, "lam_num_embodiments": 32,
    "lam_image_hw": [256, 256], "lam_patch_size": 16,
    "dinov3_hidden_size": 768, "dinov3_intermediate_size": 3072, "dinov3_num_hidden_layers": 12, "dinov3_num_attention_heads": 12,
    "dinov3_num_register_tokens": 4,
    "default_task": "Execute the robot action.", "embodiment_id": 25,
    "latent_action_placeholder_token": "<ACT_PH>", "num_action_queries": 8, "flow_action_num_queries": 8,
    "flow_action_dim": 32, "flow_state_dim": 32, "flow_hidden_dim": 1024, "flow_num_layers": 16, "flow_attention_heads": 16,
    "flow_vlm_dim": 2048, "flow_num_target_vision_tokens": -1, "flow_use_state": False, "flow_num_embodiments": 32,
    "flow_cfg_drop_prob": 0.0, "flow_cfg_guidance_scale": 1.0, "flow_num_inference_steps": 10, "flow_num_timestep_buckets": 1000,
    "flow_interleave_self_attention": True, "flow_use_alternate_vldit": True, "flow_attend_text_every_n_blocks": 2,
    "flow_noise_beta_alpha": 1.5, "flow_noise_beta_beta": 1.0, "flow_noise_s": 0.999, "flow_token_independent_noise": False,
    "flow_use_action_positional_embeddings": True,
}  # fmt: skip
_LAM_KEYS = (
    "dim", "num_heads", "ffn_expansion_factor", "enc_layers", "code_dim", "max_state_dim", "num_queries", "dec_layers", "dropout",
    "num_embodiments", "image_hw", "patch_size", "norm_latents", "norm_latents_type", "enc_modal_mask", "latent_layer_to_use",
)  # fmt: skip
_FLOW_KEYS = (
    "action_dim", "state_dim", "use_state", "vlm_dim", "hidden_dim", "attention_heads", "num_layers", "num_embodiments",
    "num_target_vision_tokens", "attend_text_every_n_blocks", "cfg_drop_prob", "cfg_guidance_scale", "num_inference_steps",
    "num_timestep_buckets", "noise_beta_alpha", "noise_beta_beta", "noise_s", "token_independent_noise",
    "use_action_positional_embeddings", "interleave_self_attention", "use_alternate_vldit",
)  # fmt: skip
_TRAINING_KEYS = (
    "perceptual_weight", "lam_encoder_distill_weight", "enable_loss_distill", "future_prediction", "detach_future_feature",
    "repeated_diffusion_steps",
)  # fmt: skip
_INPUT_STEPS = frozenset({
    "rename_observations_processor", "to_batch_processor", "device_processor", "normalizer_processor", "lawam_pre_snap_gripper",
    "lawam_resize_images", "lawam_qwen_inputs", "lawam_prepare_batch",
})  # fmt: skip
_OUTPUT_KINDS = {
    "lawam_clip_actions": "clip",
    "lawam_pre_snap_gripper": "snap",
    "unnormalizer_processor": "denormalise",
    "lawam_binarize_gripper": "binarise",
}


@dataclass(frozen=True)
class LeRobotFolder:
    """What the small files of a folder say."""

    config: ModelConfig
    processing: LeRobotProcessing


def is_lerobot_folder(path: Path) -> bool:
    """Whether a folder, or the folder of a weights file, has LeRobot's layout (also when parts of it are missing)."""
    folder = path.parent if path.is_file() else path
    return any((folder / name).is_file() for name in (CONFIG, *PROCESSORS)) and not (folder / "config.yaml").is_file()


def read_lerobot_folder(folder: Path) -> LeRobotFolder:
    """Configuration and processing. UserMistake in one sentence for what is missing, unknown or contradictory."""
    content = _read(folder / CONFIG)
    if content.get("type") != "lawam":
        raise UserMistake(f"{folder / 'config.json'}: expected a policy of type 'lawam', got {content.get('type')!r}")
    fields = _DEFAULTS | content
    inputs, outputs = (_steps(_read(folder / name), folder / name) for name in PROCESSORS)
    unknown = sorted({name for name, _ in inputs} - _INPUT_STEPS | {name for name, _ in outputs} - {*_OUTPUT_KINDS, "device_processor"})
    if unknown:
        raise UserMistake(f"{folder}: unknown processor steps {', '.join(unknown)}; this version knows those of LeRobot's policy 'lawam'")
    batch, texts = _only(inputs, "lawam_prepare_batch", folder), _only(inputs, "lawam_qwen_inputs", folder)
    action_hz = batch.get("action_hz") or content.get("action_hz")
    if not action_hz or action_hz <= 0:
        raise UserMistake(f"{folder}: expected the control rate (action_hz) in policy_preprocessor.json or config.json, found none")
    try:
        config = _config(folder, fields, texts, float(action_hz))
        processing = _processing(folder, fields, batch | texts, inputs, outputs, float(action_hz))
    except (TypeError, ValueError, KeyError) as error:
        raise UserMistake(f"{folder}: the fields of config.json or of the processor files have unexpected values ({error})") from error
    return LeRobotFolder(config, processing)


def lerobot_statistics(processing: LeRobotProcessing) -> dict[str, DatasetStatistics]:
    """The statistics in the form of official folders, under the one tag LeRobot; the stored mask has no effect there."""
    state = None if processing.state is None else _plain(processing.state, processing.state.size)
    return {TAG: DatasetStatistics(TAG, _plain(processing.action, processing.action_size), state)}


def _plain(scale: FeatureScale, size: int) -> Statistics:
    kept = {name: vector for name, vector in scale.statistics.items() if len(vector) == size}
    minimum, maximum, q01, q99, mean, std = (kept.get(name) for name in ("min", "max", "q01", "q99", "mean", "std"))
    return Statistics(minimum, maximum, q01, q99, mean, std, np.ones(size, bool))


def _config(folder: Path, fields: Mapping[str, Any], texts: Mapping[str, Any], action_hz: float) -> ModelConfig:
    base = base_vlm(str(texts.get("model_id") or fields["base_vlm"]), folder, folder / CONFIG)
    chunk_size = int(fields["chunk_size"])
    # The older fields: a product in double precision, cut to whole steps.
    valid = int(fields.get("action_horizon") or min(chunk_size, int(fields["flow_horizon_sec"] * action_hz)))
    if not 1 <= valid <= chunk_size:
        raise UserMistake(f"{folder / 'config.json'}: expected 1 to {chunk_size} (chunk_size) valid steps, got {valid}")
    flow = {key: fields[f"flow_{key}"] for key in _FLOW_KEYS} | {"horizon_sec": valid / action_hz, "valid_steps": valid}
    action_model = {key: fields[key] for key in _TRAINING_KEYS if key in fields} | {
        "flow_cfg": flow,
        "action_horizon": chunk_size,
        "num_action_queries": fields["num_action_queries"],
        "flow_action_num_queries": fields["flow_action_num_queries"],
        "latent_action_placeholder_token": fields["latent_action_placeholder_token"],
    }
    for key in ("lam_vq_layer_norm", "lam_decoder_last_ln"):
        if not fields.get(key, True):
            raise UserMistake(f"{folder / CONFIG}: {key}: only true is supported, got {fields[key]!r}")
    vision = {key.removeprefix("dinov3_"): value for key, value in fields.items() if key.startswith("dinov3_") and key in _DEFAULTS}
    config = assemble(
        base_vlm=base.config,
        language_layers=fields["keep_llm_first_n_layers"],
        vision_encoder={"model_type": "dinov3_vit", "patch_size": fields["lam_patch_size"], **vision},
        lam={key: fields[f"lam_{key}"] for key in _LAM_KEYS if f"lam_{key}" in fields},
        action_model=action_model,
        tokenizer=str(base.folder),
        centre_crop_90=False,
        where=str(folder / CONFIG),
        prompt={
            "before_wrist": texts.get("cot_prompt_before_wrist") or BEFORE_WRIST,
            "after_wrist": texts.get("cot_prompt_after_wrist") or AFTER_WRIST,
        },
    )
    return replace(config, squashed_images=True)


def _processing(
    folder: Path,
    fields: Mapping[str, Any],
    prepared: Mapping[str, Any],
    inputs: list[tuple[str, dict[str, Any]]],
    outputs: list[tuple[str, dict[str, Any]]],
    action_hz: float,
) -> LeRobotProcessing:
    action_size = int(fields["output_features"][ACTION]["shape"][0])
    out_step = _only(outputs, "unnormalizer_processor", folder)
    action = _scale(folder, out_step, out_step, ACTION, fields)
    if action.size not in (0, action_size):
        raise UserMistake(f"{folder}: config.json says {action_size} action dimensions, the statistics have {action.size}")
    state = None
    if fields["flow_use_state"]:
        in_step = next((settings for name, settings in inputs if name == "normalizer_processor"), out_step)
        state = _scale(folder, in_step, out_step, STATE, fields)
    primary = tuple(prepared.get("primary_image_features") or fields.get("primary_image_features") or ())
    if not primary:
        raise UserMistake(f"{folder / 'config.json'}: expected primary_image_features to name at least one camera, found none")
    subgoal = prepared.get("lam_image_feature") or fields.get("lam_image_feature") or primary[0]
    if subgoal not in primary:
        raise UserMistake(f"{folder / 'config.json'}: expected lam_image_feature to be one of {', '.join(primary)}, got {subgoal!r}")
    return LeRobotProcessing(
        action_hz=action_hz,
        embodiment_id=int(prepared.get("embodiment_id", fields["embodiment_id"])),
        primary_cameras=primary,
        wrist_cameras=tuple(prepared.get("wrist_image_features") or fields.get("wrist_image_features") or ()),
        subgoal_view=primary.index(subgoal),
        default_task=str(prepared.get("default_task", fields["default_task"])),
        action=action,
        state=state,
        action_size=action_size,
        # Only the current fields pad the targets to the whole chunk.
        training_rows=int(prepared.get("chunk_size") or prepared["action_horizon"]),
        input_snaps=tuple(_output_step(name, step) for name, step in inputs if name == "lawam_pre_snap_gripper"),
        output_steps=tuple(_output_step(name, step) for name, step in outputs if name in _OUTPUT_KINDS),
    )


def _output_step(name: str, step: Mapping[str, Any]) -> OutputStep:
    return OutputStep(_OUTPUT_KINDS[name], int(step.get("gripper_dim", 0)), float(step.get("threshold", 0.5)))


def _scale(folder: Path, step: Mapping[str, Any], stored_by: Mapping[str, Any], feature: str, fields: Mapping[str, Any]) -> FeatureScale:
    """Normalisation of a feature as ``step`` says, with the statistics file of ``stored_by``, which a folder that scales nothing lacks."""
    modes = step.get("norm_map") or fields.get("normalization_mapping") or {}
    mode = modes.get("ACTION" if feature == ACTION else "STATE", "MIN_MAX")
    stored = {} if mode == "IDENTITY" and not stored_by.get("state_file") else _read_statistics(folder, stored_by)
    scale = FeatureScale(feature, mode, stored.get(feature, {}), float(step.get("eps", 1e-8)))
    scale.check(str(folder))
    return scale


def _steps(content: Mapping[str, Any], path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(name, settings) of every step; a step with tensors has their file under ``state_file``."""
    steps = content.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) and step.get("registry_name") for step in steps):
        raise UserMistake(f"{path}: expected a list of steps with their registry_name, got {type(steps).__name__}")
    return [(step["registry_name"], dict(step.get("config") or {}) | {"state_file": step.get("state_file")}) for step in steps]


def _only(steps: list[tuple[str, dict[str, Any]]], name: str, folder: Path) -> dict[str, Any]:
    found = [settings for step, settings in steps if step == name]
    if len(found) != 1:
        raise UserMistake(f"{folder}: expected one processor step {name}, found {len(found)}")
    return found[0]


def _read_statistics(folder: Path, step: Mapping[str, Any]) -> dict[str, dict[str, Vector]]:
    """feature -> statistic -> (D,); feature names contain dots themselves."""
    name = step.get("state_file")
    path = folder / str(name)
    if not name or not path.is_file():
        raise UserMistake(f"{folder}: expected the statistics file {name or 'of unnormalizer_processor'}, found no such file")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserMistake(f"{path}: not a readable statistics file ({error})") from error
    statistics: dict[str, dict[str, Vector]] = {}
    for key, values in tensors.items():
        feature, _, statistic = key.rpartition(".")
        statistics.setdefault(feature, {})[statistic] = values.astype("float32").reshape(-1)
    return statistics


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserMistake(f"expected {path.name} in {path.parent}, found no such file; a LeRobot folder has it next to config.json")
    return read_json(path)
