"""What is inside a checkpoint folder, as plain values; the weights are checked against the configuration but not kept."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from lawam_ros.model.action_components import (
    LIBERO_IN_LEROBOT,
    Component,
    PublishedRobot,
    assumed_components,
    components_of_slots,
    published_robot,
)
from lawam_ros.model.checkpoint import fit, stored_tensors
from lawam_ros.model.checkpoint_folder import CheckpointFolder, open_folder
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.flow_head import time_grid
from lawam_ros.model.inference_parts import TRAINING_ONLY
from lawam_ros.model.normalisation import Statistics
from lawam_ros.model.state_keys import official_key
from lawam_ros.model.weights_file import check_finite

COMPONENTS = (
    ("language model: vision tower", ("vlm.model.visual.",)),
    ("language model: text layers", ("vlm.model.language_model.",)),
    ("queries and query head", ("act_query", "flow_action_query", "vlm_to_lam.")),
    ("vision encoder", ("lam.vision_encoder.",)),
    ("latent-action encoder", ("lam.encoder.", "lam.vq.")),
    ("latent world model", ("lam.decoder.",)),
    ("state predictor", ("lam.state_decoder.",)),
    ("action expert", ("flow.",)),
)
"""Parts of the model and the module names they are made of."""


def summarise_checkpoint(path: Path) -> dict[str, Any]:
    """JSON-ready contents. Raises UserMistake as ``load_checkpoint`` does for a broken folder."""
    folder = open_folder(path)
    state = stored_tensors(folder)
    config, _, _ = fit(folder, state)
    for name, tensor in state.items():
        check_finite(name, tensor, str(folder.weights))
    robot = _published(folder)
    rate = _rate(folder, robot)
    return {
        "folder": str(folder.run),
        "layout": "LeRobot" if folder.lerobot else "lawam_ros" if folder.facts else "official",
        "weights": folder.weights.relative_to(folder.run).as_posix(),
        "parameters": sum(tensor.numel() for tensor in state.values()),
        "components": _components(state),
        "embodiments": _embodiments(folder, config),
        "rate_hz": rate,
        "horizon": _horizon(folder, config, rate["value"]),
        "cameras": _cameras(folder, robot),
        "state": {"used": config.flow.use_state, "size": _state_size(folder), "slots": list(folder.facts.state) if folder.facts else None},
        "action_tag": _tag(folder),
        "action": [asdict(component) for component in _action(folder, robot)],
        "guidance": {"scale": config.flow.guidance_scale, "unconditional_trained": config.flow.cfg_drop_prob > 0},
        "noise_scale": folder.facts.noise_scale if folder.facts else 1.0,
        "trained_delay_steps": folder.facts.trained_delay_steps if folder.facts else None,
        "data_sha256": folder.facts.data_sha256 if folder.facts else None,
        "training": dict(folder.facts.training) if folder.facts else None,
        "statistics": _statistics(folder),
        "sha256": hashes_of(folder),
    }


def _components(state: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    rows = []
    for name, prefixes in COMPONENTS:
        own = [tensor for key, tensor in state.items() if key.startswith(tuple(map(official_key, prefixes)))]
        rows.append(
            {
                "name": name,
                "tensors": len(own),
                "parameters": sum(tensor.numel() for tensor in own),
                "bytes": sum(tensor.numel() * tensor.element_size() for tensor in own),
                "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in own}),
                "training_only": set(prefixes) <= set(TRAINING_ONLY),
            }
        )
    return rows


def _embodiments(folder: CheckpointFolder, config: ModelConfig) -> dict[str, Any]:
    made_for = None
    if folder.facts:
        made_for = {"id": folder.facts.embodiment_id, "tag": folder.facts.embodiment_tag, "robot": folder.facts.robot}
    elif folder.lerobot:
        made_for = {"id": folder.lerobot.embodiment_id, "tag": None, "robot": None}
    layers_for = 1 if folder.partial else config.flow.num_embodiments
    return {"layers_for": layers_for, "statistics_for": list(folder.statistics), "made_for": made_for}


def _published(folder: CheckpointFolder) -> PublishedRobot | None:
    """The robot a foreign folder is assumed to be for."""
    size = _action_size(folder)
    if folder.facts is not None:
        return None
    if folder.lerobot is not None:
        # Only LIBERO checkpoints are published in this format with a binarised gripper.
        binarised = any(step.kind == "binarise" for step in folder.lerobot.output_steps)
        return LIBERO_IN_LEROBOT if binarised and size == len(LIBERO_IN_LEROBOT.components) else None
    content = yaml.safe_load((folder.run / "config.yaml").read_text(encoding="utf-8"))
    data = (content.get("datasets") or {}).get("vla_data") or {}
    return published_robot(str(data.get("data_mix", "")), size)


def _rate(folder: CheckpointFolder, robot: PublishedRobot | None) -> dict[str, Any]:
    if folder.facts:
        return {"value": folder.facts.action_hz, "assumed": False}
    if folder.lerobot:
        return {"value": folder.lerobot.action_hz, "assumed": False}
    return {"value": robot.action_hz if robot else None, "assumed": True}


def _horizon(folder: CheckpointFolder, config: ModelConfig, rate_hz: float | None) -> dict[str, Any]:
    flow = config.flow
    steps = flow.valid_steps
    if steps is None and rate_hz is not None:
        steps = int(time_grid(torch.tensor([rate_hz]), flow.horizon_s, flow.action_horizon)[2])
    return {"seconds": flow.horizon_s, "actions": steps, "rows": flow.action_horizon, "denoising_steps": flow.num_inference_steps}


def _cameras(folder: CheckpointFolder, robot: PublishedRobot | None) -> dict[str, Any]:
    source = folder.facts or folder.lerobot or robot
    return {
        "primary": list(source.primary_cameras) if source else None,
        "wrist": list(source.wrist_cameras) if source else None,
        "assumed": not (folder.facts or folder.lerobot),
    }


def _action(folder: CheckpointFolder, robot: PublishedRobot | None) -> list[Component]:
    if folder.facts:
        return components_of_slots(folder.facts.action, _action_size(folder))
    return assumed_components(robot, _action_size(folder))


def _tag(folder: CheckpointFolder) -> str:
    """The statistics that the components are shown for: those the checkpoint is made for, else the first."""
    return folder.facts.embodiment_tag if folder.facts else next(iter(folder.statistics))


def _action_size(folder: CheckpointFolder) -> int:
    return folder.statistics[_tag(folder)].action.size


def _state_size(folder: CheckpointFolder) -> int | None:
    state = folder.statistics[_tag(folder)].state
    return state.size if state else None


def _statistics(folder: CheckpointFolder) -> dict[str, Any]:
    return {
        tag: {"action": _vectors(entry.action), "state": _vectors(entry.state) if entry.state else None}
        for tag, entry in folder.statistics.items()
    }


def _vectors(statistics: Statistics) -> dict[str, Any]:
    named = {"min": statistics.minimum, "max": statistics.maximum, "q01": statistics.q01, "q99": statistics.q99}
    named |= {"mean": statistics.mean, "std": statistics.std}
    return {key: [round(float(x), 6) for x in vector] for key, vector in named.items() if vector is not None} | {
        "binary_dims": [int(i) for i in (~statistics.mask).nonzero()[0]]
    }


def hashes_of(folder: CheckpointFolder) -> dict[str, str]:
    """Of the weights and of every file that describes them; other weights lying around are left alone."""
    described = [path for path in sorted(folder.run.rglob("*")) if path.suffix in (".yaml", ".json")]
    processors = folder.run.glob("policy_*.safetensors") if folder.lerobot else ()
    files = sorted({*described, *processors, folder.weights})
    return {path.relative_to(folder.run).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
