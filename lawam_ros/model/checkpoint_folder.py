"""What the small files of a checkpoint folder say: configuration, statistics, facts, and which file holds the weights.

``<run>/config.yaml``, ``<run>/dataset_statistics.json`` and ``<run>/final_model/pytorch_model.pt`` or ``model.safetensors``. Ours adds
``base_vlm/`` (config.json and tokenizer), ``lam.yaml``, ``vision_encoder/config.json`` and the ``lawam_ros`` block of config.yaml.
LeRobot's folders are read by ``lerobot_checkpoint.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.architecture_files import base_vlm, latent_action_model, read_yaml, vision_encoder
from lawam_ros.model.config import ModelConfig, assemble
from lawam_ros.model.facts import CheckpointFacts, facts_from_mapping
from lawam_ros.model.lerobot_checkpoint import WEIGHTS, is_lerobot_folder, lerobot_statistics, read_lerobot_folder
from lawam_ros.model.lerobot_processing import LeRobotProcessing
from lawam_ros.model.normalisation import DatasetStatistics, load_statistics

_SAME_HORIZON_S = 1e-6


@dataclass(frozen=True)
class CheckpointFolder:
    """Everything but the weights. facts is None for official folders and for LeRobot's, which say it in ``lerobot``."""

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

    @property
    def embodiment_id(self) -> int | None:
        """The one embodiment the folder says it is for; None for official folders."""
        source = self.facts or self.lerobot
        return None if source is None else source.embodiment_id


def open_folder(path: Path | str, weights: Path | None = None) -> CheckpointFolder:
    """The folder at ``path``, which may also be its weights file. ``weights``: a file to use instead of the folder's own.

    UserMistake in one sentence for what is missing, unknown or contradictory.
    """
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
        return path.absolute().parent.parent, path.absolute()
    if not path.is_dir():
        raise UserMistake(f"expected a checkpoint folder or file, found nothing at {path}")
    for name in ("model.safetensors", "pytorch_model.pt"):
        if (path / "final_model" / name).is_file():
            return path, path / "final_model" / name
    raise UserMistake(f"expected final_model/model.safetensors or final_model/pytorch_model.pt in {path}, found neither")


def read_config(run: Path) -> tuple[ModelConfig, CheckpointFacts | None]:
    """Model configuration of a run folder, and our block where it has one."""
    said_in = run / "config.yaml"
    content = read_yaml(said_in, run)
    block = content.get("lawam_ros")
    try:
        framework, action_model = content["framework"], content["framework"]["action_model"]
        data = (content.get("datasets") or {}).get("vla_data") or {}
        base = base_vlm(str(framework["qwenvl"]["base_vlm"]), run, said_in)
        lam = latent_action_model(str(action_model["lam_yaml_path"]), run, said_in)
        encoder = vision_encoder(str(lam["vision_model_id"]), run, said_in)
        _check_horizon(action_model["flow_cfg"]["horizon_sec"], data.get("sec_chunk"), said_in)
        if block is not None and "flow_dropout" in block:
            action_model = action_model | {"flow_cfg": action_model["flow_cfg"] | {"dropout": block["flow_dropout"]}}
        config = assemble(
            base_vlm=base.config,
            language_layers=_language_layers(content, base.config),
            vision_encoder=encoder,
            lam=lam,
            action_model=action_model,
            tokenizer=str(base.folder),
            centre_crop_90=bool(data.get("enable_primary_random_resized_crop", False)),
            where=str(said_in),
            prompt={
                name: data[key]
                for name, key in (("before_wrist", "CoT_prompt_before_wrist"), ("after_wrist", "CoT_prompt_after_wrist"))
                if data.get(key)
            },
        )
        config = replace(config, squashed_images=bool((block or {}).get("squashed_images", False)))
    except KeyError as error:
        raise UserMistake(f"{said_in}: key {error} is missing; expected the configuration of a LaWAM run") from error
    except (TypeError, AttributeError) as error:
        raise UserMistake(f"{said_in}: a section has an unexpected form ({error}); expected the configuration of a LaWAM run") from error
    return config, None if block is None else facts_from_mapping(block, f"{said_in}: lawam_ros")


def _language_layers(content: Mapping[str, Any], base: Mapping[str, Any]) -> int:
    """Kept language layers; all of the base model's where the configuration cuts none."""
    kept = content["trainer"]["freeze"].get("keep_llm_first_n_layers")
    return int(base["text_config"]["num_hidden_layers"]) if kept is None or int(kept) < 0 else int(kept)


def _check_horizon(horizon_s: object, chunk_s: object, said_in: Path) -> None:
    """The action expert and the data of the training must mean the same seconds."""
    numbers = (horizon_s, chunk_s) if chunk_s is not None else (horizon_s,)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers):
        raise UserMistake(f"{said_in}: expected seconds in flow_cfg.horizon_sec and datasets.vla_data.sec_chunk, got {numbers}")
    if chunk_s is not None and abs(float(str(horizon_s)) - float(str(chunk_s))) > _SAME_HORIZON_S:
        raise UserMistake(
            f"{said_in}: flow_cfg.horizon_sec is {horizon_s} s but datasets.vla_data.sec_chunk is {chunk_s} s; expected the same number"
        )
