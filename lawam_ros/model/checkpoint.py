"""Loading and writing checkpoints: the official layout, LeRobot's, and ours, which is the official one made self-contained."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.checkpoint_folder import CheckpointFolder, open_folder, read_config, run_folder
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.facts import CheckpointFacts
from lawam_ros.model.inference_parts import (
    TRAINING_ONLY,
    all_embodiments,
    embodiment_keys,
    keep_inference_parts,
    narrow_embodiments,
    one_embodiment,
    widen_embodiments,
)
from lawam_ros.model.lawam import LaWAM, build_model
from lawam_ros.model.lerobot_processing import LeRobotProcessing
from lawam_ros.model.normalisation import DatasetStatistics, load_statistics
from lawam_ros.model.state_keys import THIRD_PARTY, canonical_state, module_state, official_key
from lawam_ros.model.weights_file import check_finite, read_tensors

__all__ = [
    "Checkpoint", "CheckpointFolder", "fit", "load_checkpoint", "load_stored_state", "open_folder", "read_config", "read_tensors",
    "run_folder", "save_checkpoint", "stored_state", "stored_tensors",
]  # fmt: skip

VLM = official_key("vlm.")
STATE_PREDICTOR = "policy_backend.lam.state_decoder.state_encoder.layer1.W"
_EMBEDDING = "policy_backend.vlm.model.language_model.embed_tokens.weight"
_EMBODIMENTS = "policy_backend.flow.action_encoder.W1.W"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint. facts is None for official folders, which say nothing about cameras and slots, and for LeRobot's, which say it
    in ``lerobot``. embodiment_id: the one embodiment whose layers the action expert holds, None when it holds all of them.
    """

    path: Path
    model: LaWAM
    config: ModelConfig
    statistics: dict[str, DatasetStatistics]
    facts: CheckpointFacts | None
    lerobot: LeRobotProcessing | None = None
    embodiment_id: int | None = None

    def embodiment_row(self, embodiment_id: int) -> int:
        """Row of the action expert's per-embodiment layers for an id. UserMistake when they were left out or never existed."""
        known = self.config.flow.num_embodiments
        if not 0 <= embodiment_id < known:
            raise UserMistake(f"expected an embodiment id of 0 to {known - 1}, got {embodiment_id}")
        if self.embodiment_id is None:
            return embodiment_id
        if embodiment_id != self.embodiment_id:
            raise UserMistake(f"the checkpoint holds the layers of embodiment {self.embodiment_id} only, got {embodiment_id}")
        return 0


def load_checkpoint(
    path: Path | str,
    device: torch.device | str = "cpu",
    weights: Path | None = None,
    *,
    for_inference: bool = False,
    embodiment_id: int | None = None,
    vlm_dtype: torch.dtype = torch.float32,
) -> Checkpoint:
    """Model in eval mode on ``device``, with configuration, statistics and facts; ``weights``: another file of them.

    for_inference: leave out what only training reads, and the layers of other embodiments than the one the folder is made for or, where
    it does not say, than ``embodiment_id`` (None keeps all): see :meth:`Checkpoint.embodiment_row`. What is left out is never read.
    Otherwise all layers are there; those a file made for inference lacks are NaN.
    vlm_dtype: type of the language model's weights; everything else is float32.

    Raises UserMistake in one sentence for missing files, tensors that are missing, unknown, misshapen or not finite, statistics that are
    not finite, and an installed third-party encoder that is not the one of the training.
    """
    folder = open_folder(path, weights)
    config, model, loaded = fit(folder, stored_tensors(folder))
    kept = None
    if for_inference:
        kept = embodiment_id if folder.embodiment_id is None else folder.embodiment_id
        if kept is not None:
            _check_embodiment(kept, config)
            loaded = one_embodiment(loaded, embodiment_keys(model), kept)
            narrow_embodiments(model)
        keep_inference_parts(model)
    elif folder.partial:
        model.lam.drop_training_parts()
    wanted = model.state_dict()
    placed: dict[str, Tensor] = {}
    for name in list(loaded):
        tensor = loaded.pop(name)
        if name in wanted:
            # Copied, so that the file may change or go.
            tensor = tensor.to(vlm_dtype if name.startswith("vlm.") else torch.float32, copy=True)
            check_finite(official_key(name), tensor, str(folder.weights))
            placed[name] = tensor.to(device)
    if folder.partial and kept is None and folder.embodiment_id is not None:
        placed = all_embodiments(placed, embodiment_keys(model), folder.embodiment_id, config.flow.num_embodiments)
        widen_embodiments(model, config.flow.num_embodiments)
    model.load_state_dict(placed, assign=True, strict=False)
    return Checkpoint(folder.run, model.to(device).eval(), config, folder.statistics, folder.facts, folder.lerobot, kept)


def _check_embodiment(embodiment_id: int, config: ModelConfig) -> None:
    known = config.flow.num_embodiments
    if not 0 <= embodiment_id < known:
        raise UserMistake(f"expected an embodiment id of 0 to {known - 1}, got {embodiment_id}")


def stored_tensors(folder: CheckpointFolder) -> dict[str, Tensor]:
    """The tensors of the weights file under their official names, aliases folded, as they are stored."""
    return canonical_state(read_tensors(folder.weights), str(folder.weights))


def fit(folder: CheckpointFolder, state: dict[str, Tensor]) -> tuple[ModelConfig, LaWAM, dict[str, Tensor]]:
    """Final configuration, model without weights (device ``meta``), and the tensors under the names of its modules.

    UserMistake where tensors are missing, unknown or misshapen.
    """
    config = folder.config
    if STATE_PREDICTOR in state:
        # The released weights have 14 state dimensions where the published yaml says 32.
        config = replace(config, lam=replace(config.lam, max_state_dim=state[STATE_PREDICTOR].shape[1]))
    text = config.base_vlm["text_config"]
    if _EMBEDDING in state and len(state[_EMBEDDING]) > int(text["vocab_size"]):
        # The official code adds rows when the tokenizer has more tokens than the base model.
        grown = dict(text) | {"vocab_size": len(state[_EMBEDDING])}
        config = replace(config, base_vlm=dict(config.base_vlm) | {"text_config": grown})
    model = build_model(config, "meta")
    if folder.partial and _EMBODIMENTS in state and len(state[_EMBODIMENTS]) == 1:
        narrow_embodiments(model)
    return config, model, module_state(state, model, _optional(model, folder.partial), str(folder.weights))


def save_checkpoint(
    run: Path,
    model: LaWAM,
    statistics: Mapping[str, Any],
    facts: CheckpointFacts,
    tokenizer: Any,
    vlm_dtype: torch.dtype = torch.bfloat16,
    other_dtype: torch.dtype = torch.float32,
    inference_only: bool = False,
) -> Path:
    """Write our layout to ``run`` and return it. Weights of third-party encoders are named, not stored.

    statistics: content of dataset_statistics.json, at least ``{facts.embodiment_tag: {"action": ..., "state": ...}}``.
    tokenizer: what PromptEncoder.tokenizer holds. vlm_dtype, other_dtype: storage types, by default those of the released files.
    inference_only: leave out what only training reads (inverse-dynamics encoder, bottleneck, state predictor) and the weights of other
    embodiments.
    """
    config = model.config
    (run / "final_model").mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(run / "base_vlm"))
    _write_json(run / "base_vlm" / "config.json", dict(config.base_vlm))
    (run / "vision_encoder").mkdir(exist_ok=True)
    _write_json(run / "vision_encoder" / "config.json", dict(config.vision_encoder) | getattr(model.lam.vision_encoder, "identity", {}))
    (run / "lam.yaml").write_text(yaml.safe_dump({"model": _lam_mapping(config)}, sort_keys=False), encoding="utf-8")
    run_mapping = _run_mapping(config, replace(facts, inference_only=inference_only))
    (run / "config.yaml").write_text(yaml.safe_dump(run_mapping, sort_keys=False), encoding="utf-8")
    _write_json(run / "dataset_statistics.json", dict(statistics))
    load_statistics(run / "dataset_statistics.json")
    without = tuple(map(official_key, TRAINING_ONLY)) if inference_only else ()
    state = stored_state(model)
    if inference_only:
        state = one_embodiment(state, set(map(official_key, embodiment_keys(model))), facts.embodiment_id)
    tensors = {
        key: tensor.to(vlm_dtype if key.startswith(VLM) else other_dtype).contiguous().cpu()
        for key, tensor in state.items()
        if not key.startswith(without)
    }
    save_file(tensors, run / "final_model" / "model.safetensors")
    return run


def stored_state(model: LaWAM) -> dict[str, Tensor]:
    """Tensors a checkpoint holds, under their official names."""
    skip = _optional(model, inference_only=False)
    return {official_key(key): tensor.detach() for key, tensor in model.state_dict().items() if not key.startswith(skip)}


def load_stored_state(model: LaWAM, state: Mapping[str, Tensor], where: str) -> None:
    """Fill ``model`` in place from tensors as :func:`stored_state` gives them, or any spelling a checkpoint may have."""
    optional = _optional(model, inference_only=False)
    model.load_state_dict(module_state(canonical_state(state, where), model, optional, where), strict=False)


def _optional(model: LaWAM, inference_only: bool) -> tuple[str, ...]:
    """Prefixes of module names that a file may lack."""
    third_party = () if model.lam.vision_encoder.stored_in_checkpoint else (THIRD_PARTY,)
    return third_party + (TRAINING_ONLY if inference_only else ())


def _run_mapping(config: ModelConfig, facts: CheckpointFacts) -> dict[str, Any]:
    flow = asdict(config.flow)
    dropout, horizon = flow.pop("dropout"), flow.pop("action_horizon")
    if flow["valid_steps"] is None:
        del flow["valid_steps"]
    flow["horizon_sec"], flow["cfg_guidance_scale"] = flow.pop("horizon_s"), flow.pop("guidance_scale")
    action_model = dict(config.training) | {
        "action_horizon": horizon,
        "future_action_window_size": horizon - 1,
        "past_action_window_size": 0,
        "lam_yaml_path": "lam.yaml",
        "num_action_queries": config.action_queries,
        "flow_action_num_queries": config.flow_queries,
        "latent_action_placeholder_token": config.placeholder_token,
        "flow_cfg": flow | {"interleave_self_attention": True, "use_alternate_vldit": True},
    }
    data = {
        "enable_primary_random_resized_crop": config.centre_crop_90,
        "image_resolution": config.image_size,
        "sec_chunk": config.flow.horizon_s,
        "CoT_prompt_before_wrist": config.before_wrist,
        "CoT_prompt_after_wrist": config.after_wrist,
    }
    return {
        "framework": {"name": "LaWAM", "qwenvl": {"base_vlm": "base_vlm"}, "action_model": action_model},
        "datasets": {"vla_data": data},
        "trainer": {"freeze": {"keep_llm_first_n_layers": config.language_layers}},
        "lawam_ros": facts.to_mapping() | {"flow_dropout": dropout, "squashed_images": config.squashed_images},
    }


def _lam_mapping(config: ModelConfig) -> dict[str, Any]:
    lam = asdict(config.lam)
    rows, columns = lam.pop("grid_hw")
    return {"vision_model_id": "vision_encoder", **lam, "image_hw": [rows * 16, columns * 16], "patch_size": 16, "vq_type": "vae"}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
