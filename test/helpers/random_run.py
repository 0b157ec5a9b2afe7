"""Official run folders of any size with random weights, written as the official trainer and preparation lay them out."""

import copy
import json
import shutil
from pathlib import Path

import torch
import yaml

from lawam_ros.model.config import ModelConfig
from lawam_ros.model.lawam import LaWAM, build_model
from lawam_ros.model.state_keys import official_key

SMALL = Path(__file__).parents[1] / "data" / "golden_small"


def assets(root: Path, vlm: dict | None = None, dino: dict | None = None, lam: dict | None = None) -> Path:
    """The small golden assets under ``root`` with changed sizes; ``vlm`` has the keys text and vision."""
    shutil.copytree(SMALL / "assets", root / "assets")
    base = root / "assets" / "qwen3vl-tiny" / "config.json"
    content = json.loads(base.read_text())
    for part in ("text", "vision"):
        content[f"{part}_config"] |= (vlm or {}).get(part, {})
    base.write_text(json.dumps(content))
    encoder = root / "assets" / "dinov3-tiny" / "config.json"
    encoder.write_text(json.dumps(json.loads(encoder.read_text()) | (dino or {})))
    path = root / "assets" / "lam" / "dino_tiny_vae.yaml"
    content = yaml.safe_load(path.read_text())
    content["model"] |= lam or {}
    path.write_text(yaml.safe_dump(content))
    return root


def run_config(flow: dict | None = None, action_model: dict | None = None, data: dict | None = None, layers: int = 4) -> dict:
    """config.yaml of the small golden run with changes."""
    content = copy.deepcopy(yaml.safe_load((SMALL / "runs" / "nostate" / "config.yaml").read_text()))
    model = content["framework"]["action_model"]
    model |= action_model or {}
    model["flow_cfg"] |= flow or {}
    content["datasets"]["vla_data"] |= {"sec_chunk": model["flow_cfg"]["horizon_sec"]} | (data or {})
    content["trainer"]["freeze"]["keep_llm_first_n_layers"] = layers
    return content


def random_model(config: ModelConfig, seed: int = 0) -> LaWAM:
    """Every tensor random, also those a fresh model has at zero or one; the language model's as bfloat16 stores them."""
    generator = torch.Generator().manual_seed(seed)
    model = build_model(config)
    for name, parameter in model.named_parameters():
        values = 0.08 * torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1 and name.endswith("weight"):
            values = values + 1.0
        parameter.data = values.to(torch.bfloat16).float() if name.startswith("vlm.") else values
    return model.eval().requires_grad_(False)


def official_tensors(model: LaWAM, dino_of_5_4: bool = False, aliases: bool = True) -> dict[str, torch.Tensor]:
    """State dict as the official trainer saves it: bfloat16 language model, both aliases, either spelling of the DINO blocks."""
    state = {}
    for key, tensor in model.state_dict().items():
        name = official_key(key)
        tensor = tensor.to(torch.bfloat16) if key.startswith("vlm.") else tensor
        if dino_of_5_4:
            name = name.replace("vision_encoder.model.layer.", "vision_encoder.model.model.layer.")
        state[name] = tensor
        for canonical, alias in (("policy_backend.flow.", "policy_action_head."), ("policy_backend.vlm.", "policy_vlm_adapter.model.")):
            if aliases and name.startswith(canonical):
                state[alias + name.removeprefix(canonical)] = tensor
    return state


def write_run(root: Path, content: dict, statistics: dict, state: dict[str, torch.Tensor], name: str = "other") -> Path:
    """``<root>/runs/<name>`` in the official layout."""
    run = root / "runs" / name
    (run / "final_model").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    (run / "dataset_statistics.json").write_text(json.dumps(statistics))
    torch.save(state, run / "final_model" / "pytorch_model.pt")
    return run


def vectors(size: int, seed: int, masked: tuple[int, ...] = (), quantiles_only: bool = False) -> dict:
    """Statistics of one quantity with plausible numbers."""
    generator = torch.Generator().manual_seed(seed)
    low, span = torch.rand(size, generator=generator) - 1.0, 0.2 + torch.rand(size, generator=generator)
    named = {"min": low, "max": low + span, "q01": low + 0.1 * span, "q99": low + 0.9 * span, "mean": low + 0.5 * span, "std": 0.3 * span}
    kept = {key: value.tolist() for key, value in named.items() if not (quantiles_only and key in ("min", "max"))}
    return kept | {"mask": [dim not in masked for dim in range(size)]}
