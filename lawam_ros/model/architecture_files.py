"""The small files a configuration points to: base model, vision encoder, latent action model.

Published configurations name them by the paths of the machine they were trained on. A name is looked for as it is written, then by its
last part, in the run folder and the three folders above it. Only architecture and tokenizer are read: every weight is in the checkpoint.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.contract.paths import config_dir
from lawam_ros.model.hub import BASE_MODEL_FILES, Download, hub_folder, is_hub_name

RELEASED_BASE_VLM = "Qwen/Qwen3-VL-2B-Instruct"
RELEASED_ENCODER, RELEASED_LAM = "dinov3-vitb16-pretrain-lvd1689m", "dino_large_vae.yaml"
_TOKENIZER = ("tokenizer.json", "vocab.json")


@dataclass(frozen=True)
class BaseVlm:
    """config.json of the base model, and the folder that holds it and the tokenizer."""

    config: dict[str, Any]
    folder: Path


def find_near(name: str, run: Path) -> Path | None:
    """An existing path for ``name``, near a run folder."""
    bases = [run.resolve(), *list(run.resolve().parents)[:3]]
    found = (base / part for part in dict.fromkeys((name, Path(name).name)) if part for base in bases if (base / part).exists())
    return next(found, None)


def base_vlm(name: str, run: Path, said_in: Path, download: Download | None = None) -> BaseVlm:
    """Configuration and tokenizer of the base model, from near the run or from the hub. UserMistake says which files to put where."""
    folder = find_near(name, run)
    if folder is None:
        folder = _from_hub(name, run, said_in, download)
    config = read_json(folder / "config.json")
    if not any((folder / file).is_file() for file in _TOKENIZER):
        raise UserMistake(
            f"expected the tokenizer of the base model (tokenizer.json and tokenizer_config.json) in {folder}, found none; copy them there"
        )
    return BaseVlm(config, folder)


def _from_hub(name: str, run: Path, said_in: Path, download: Download | None) -> Path:
    known = Path(name).name == RELEASED_BASE_VLM.rpartition("/")[2]
    where = f"put config.json, tokenizer.json and tokenizer_config.json of the base model into {run / Path(name).name}"
    nowhere = f"{said_in}: base_vlm says {name!r}, which exists neither in {run} nor above it"
    # "assets/model" has the form of a hub name too: a folder "assets" near the run says that a path is meant.
    if not known and (not is_hub_name(name) or find_near(Path(name).parts[0], run)):
        raise UserMistake(f"{nowhere}; {where}")
    try:
        return hub_folder(RELEASED_BASE_VLM if known else name, BASE_MODEL_FILES, download)
    except (UserMistake, EnvironmentLacks) as error:
        raise UserMistake(f"{nowhere}, and is not on the hub for us ({type(error.__cause__).__name__}); {where}") from error


def vision_encoder(name: str, run: Path, said_in: Path) -> dict[str, Any]:
    """config.json of the vision encoder; that of the released one is known by its name."""
    folder = find_near(name, run)
    if folder is not None:
        return read_json(folder / "config.json")
    if Path(name).name == RELEASED_ENCODER:
        return dict(_released("vision_encoder"))
    raise UserMistake(
        f"{said_in}: vision_model_id says {name!r}, which exists neither in {run} nor above it; "
        f"put the encoder's config.json into {run / Path(name).name}"
    )


def latent_action_model(name: str, run: Path, said_in: Path) -> dict[str, Any]:
    """``model`` section of the latent action model's yaml; that of the released one is known by its name."""
    path = find_near(name, run)
    if path is not None:
        content = read_yaml(path, run).get("model")
        if not isinstance(content, Mapping):
            raise UserMistake(f"{path}: expected a section 'model', got {type(content).__name__}")
        return dict(content)
    if Path(name).name == RELEASED_LAM:
        return {"vision_model_id": RELEASED_ENCODER, **_released("lam")}
    raise UserMistake(
        f"{said_in}: lam_yaml_path says {name!r}, which exists neither in {run} nor above it; put the yaml of the latent action model "
        f"into {run / Path(name).name}"
    )


def _released(section: str) -> Mapping[str, Any]:
    content: dict[str, Any] = yaml.safe_load((config_dir() / "models" / "lawam_2b.yaml").read_text(encoding="utf-8"))
    found: Mapping[str, Any] = content[section]
    return found


def read_yaml(path: Path, run: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserMistake(f"expected {path.name} in {path.parent}, found no such file; {run} is no LaWAM run folder")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserMistake(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UserMistake(f"{path}: expected a mapping at the top, got {type(content).__name__}")
    return content


def read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserMistake(f"expected {path}, found no such file; it describes the architecture and belongs to the checkpoint")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserMistake(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserMistake(f"{path}: expected a mapping at the top, got {type(content).__name__}")
    return content
