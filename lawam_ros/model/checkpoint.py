"""Checkpoint folders: the official layout, LeRobot's, and ours, which is the official one made self-contained.

``<run>/config.yaml``, ``<run>/dataset_statistics.json`` and ``<run>/final_model/pytorch_model.pt`` or ``model.safetensors``. Ours adds
``base_vlm/`` (config.json and tokenizer), ``lam.yaml``, ``vision_encoder/config.json`` and the ``lawam_ros`` block of config.yaml.
LeRobot's folders are read by ``lerobot_checkpoint.py``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.config import ModelConfig, assemble
from lawam_ros.model.embodiment_slices import all_embodiments, embodiment_keys, one_embodiment
from lawam_ros.model.facts import CheckpointFacts, facts_from_mapping
from lawam_ros.model.lawam import LaWAM, build_model
from lawam_ros.model.lerobot_checkpoint import WEIGHTS, is_lerobot_folder, lerobot_statistics, read_lerobot_folder
from lawam_ros.model.lerobot_processing import LeRobotProcessing
from lawam_ros.model.normalisation import DatasetStatistics, load_statistics
from lawam_ros.model.state_keys import THIRD_PARTY, canonical_state, module_state, official_key

TRAINING_ONLY = ("lam.encoder.", "lam.vq.", "lam.state_decoder.")
VLM = official_key("vlm.")
_STATE_PREDICTOR = "policy_backend.lam.state_decoder.state_encoder.layer1.W"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint. facts is None for official folders, which say nothing about cameras and slots, and for LeRobot's, which say it
    in ``lerobot``."""

    path: Path
    model: LaWAM
    config: ModelConfig
    statistics: dict[str, DatasetStatistics]
    facts: CheckpointFacts | None
    lerobot: LeRobotProcessing | None = None


@dataclass(frozen=True)
class CheckpointFolder:
    """What the small files of a checkpoint folder say, and which file holds the weights."""

    run: Path
    weights: Path
    config: ModelConfig
    statistics: dict[str, DatasetStatistics]
    facts: CheckpointFacts | None
    lerobot: LeRobotProcessing | None

    @property
    def partial(self) -> bool:
        """Whether the weights lack what only training reads."""
        return self.facts is not None and self.facts.inference_only


def open_folder(path: Path | str, weights: Path | None = None) -> CheckpointFolder:
    """Everything but the weights. ``weights``: a file to use instead of the folder's own. Raises as :func:`load_checkpoint`."""
    path = Path(path)
    if is_lerobot_folder(path):
        run = path.parent if path.is_file() else path
        folder = read_lerobot_folder(run)
        weights = weights or run / WEIGHTS
        if not weights.is_file():
            raise UserMistake(f"expected {WEIGHTS} in {run}, found no such file; a LeRobot folder keeps all weights in it")
        return CheckpointFolder(run, weights, folder.config, lerobot_statistics(folder.processing), None, folder.processing)
    run, own = run_folder(path)
    config, facts = read_config(run)
    statistics = load_statistics(run / "dataset_statistics.json")
    if facts is not None and facts.embodiment_tag not in statistics:
        raise UserMistake(f"{run}: expected statistics of embodiment '{facts.embodiment_tag}', found {', '.join(statistics)}")
    return CheckpointFolder(run, weights or own, config, statistics, facts, None)


def run_folder(path: Path) -> tuple[Path, Path]:
    """Run folder and weights file of a path to either."""
    if path.is_file():
        return path.parent.parent, path
    if not path.is_dir():
        raise UserMistake(f"expected a checkpoint folder or file, found nothing at {path}")
    for name in ("model.safetensors", "pytorch_model.pt"):
        if (path / "final_model" / name).is_file():
            return path, path / "final_model" / name
    raise UserMistake(f"expected final_model/model.safetensors or final_model/pytorch_model.pt in {path}, found neither")


def read_config(run: Path) -> tuple[ModelConfig, CheckpointFacts | None]:
    """Model configuration of a run folder; paths in its files are taken relative to the run folder or one of the three above it."""
    content = _read_yaml(run / "config.yaml", run)
    block = content.get("lawam_ros")
    try:
        framework, action_model = content["framework"], content["framework"]["action_model"]
        base_vlm = _find(framework["qwenvl"]["base_vlm"], run, "base_vlm")
        lam_path = _find(action_model["lam_yaml_path"], run, "lam_yaml_path")
        lam = _read_yaml(lam_path, run)["model"]
        encoder = _find(lam["vision_model_id"], run, "vision_model_id")
        data = content.get("datasets", {}).get("vla_data", {})
        if block is not None and "flow_dropout" in block:
            action_model = action_model | {"flow_cfg": action_model["flow_cfg"] | {"dropout": block["flow_dropout"]}}
        config = assemble(
            base_vlm=_read_json(base_vlm / "config.json"),
            language_layers=content["trainer"]["freeze"]["keep_llm_first_n_layers"],
            vision_encoder=_read_json(encoder / "config.json"),
            lam=lam,
            action_model=action_model,
            tokenizer=str(base_vlm),
            centre_crop_90=bool(data.get("enable_primary_random_resized_crop", False)),
            where=str(run / "config.yaml"),
            prompt={
                name: data[key]
                for name, key in (("before_wrist", "CoT_prompt_before_wrist"), ("after_wrist", "CoT_prompt_after_wrist"))
                if data.get(key)
            },
        )
        config = replace(config, squashed_images=bool((block or {}).get("squashed_images", False)))
    except KeyError as error:
        raise UserMistake(f"{run / 'config.yaml'}: key {error} is missing; expected the configuration of a LaWAM run") from error
    return config, None if block is None else facts_from_mapping(block, f"{run / 'config.yaml'}: lawam_ros")


def load_checkpoint(path: Path | str, device: torch.device | str = "cpu", weights: Path | None = None) -> Checkpoint:
    """Model in eval mode, all weights float32 on ``device``, with configuration, statistics and facts; ``weights``: another file of them.

    Raises UserMistake in one sentence for missing files, tensors that are missing, unknown or misshapen, statistics that are not finite,
    and an installed third-party encoder that is not the one of the training.
    """
    folder = open_folder(path, weights)
    config, model, loaded = fit(folder, stored_tensors(folder))
    for key in list(loaded):
        loaded[key] = loaded[key].to(device=device, dtype=torch.float32)
    model.load_state_dict(loaded, assign=True, strict=False)
    if folder.partial:
        model.lam.drop_training_parts()
    return Checkpoint(folder.run, model.to(device).eval(), config, folder.statistics, folder.facts, folder.lerobot)


def stored_tensors(folder: CheckpointFolder) -> dict[str, Tensor]:
    """The tensors of the weights file under their official names, aliases folded, as they are stored."""
    return canonical_state(read_tensors(folder.weights), str(folder.weights))


def fit(folder: CheckpointFolder, state: dict[str, Tensor]) -> tuple[ModelConfig, LaWAM, dict[str, Tensor]]:
    """Final configuration, model without weights (device ``meta``), and the tensors under the names of its modules.

    UserMistake where tensors are missing, unknown or misshapen.
    """
    config = folder.config
    if _STATE_PREDICTOR in state:
        # The released weights have 14 state dimensions where the published yaml says 32.
        config = replace(config, lam=replace(config.lam, max_state_dim=state[_STATE_PREDICTOR].shape[1]))
    model = build_model(config, "meta")
    if folder.partial and folder.facts is not None:
        state = all_embodiments(state, embodiment_keys(model), folder.facts.embodiment_id, config.flow.num_embodiments)
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
        state = one_embodiment(state, embodiment_keys(model), facts.embodiment_id)
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


def read_tensors(weights: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` or ``.pt`` file, on the CPU; nothing but tensors is ever unpickled."""
    try:
        if weights.suffix == ".safetensors":
            return load_file(weights)
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise UserMistake(
            f"{weights}: not a readable checkpoint file ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise UserMistake(f"{weights}: expected a dictionary of tensors, got {type(content).__name__}")
    return content


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


def _find(name: str, run: Path, key: str) -> Path:
    """A path of a configuration, absolute or relative to the run folder or one of the three folders above it."""
    bases = [run.resolve(), *list(run.resolve().parents)[:3]]
    for base in bases:
        if (base / name).exists():
            return base / name
    raise UserMistake(f"{run / 'config.yaml'}: {key} says {name!r}, which exists neither in {run} nor above it; copy those files there")


def _read_yaml(path: Path, run: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserMistake(f"expected {path.name} in {path.parent}, found no such file; {run} is no LaWAM run folder")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserMistake(f"{path}: not valid YAML ({error})") from error
    if not isinstance(content, dict):
        raise UserMistake(f"{path}: expected a mapping at the top, got {type(content).__name__}")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserMistake(f"expected {path}, found no such file; it describes the architecture and belongs to the checkpoint")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, ValueError) as error:
        raise UserMistake(f"{path}: not valid JSON ({error})") from error


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
