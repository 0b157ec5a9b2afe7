"""Stage-1 cases: the parts of the latent action model on two frames; losses and gradients are compared in ``training/``."""

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.checkpoint import STATE_PREDICTOR, read_config, read_tensors
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.lawam import LatentActionModel
from lawam_ros.model.parity import ARITHMETIC, HIDDEN, GoldenCase, ParityRow, compare
from lawam_ros.model.state_keys import PREFIX, canonical_state, module_state


def compare_stage1(case: GoldenCase) -> list[ParityRow]:
    """The path at the recorded noise and the deterministic one (``eval/*``), everything but losses and gradients."""
    lam = stage1_model(case)
    traces = _traces(lam, case)
    tight = {"lam/vq_loss": ARITHMETIC}
    return [compare(key, case.tensors[key], traces[key], tight.get(key, HIDDEN)) for key in sorted(traces) if key in case.tensors]


def _traces(lam: LatentActionModel, case: GoldenCase) -> dict[str, Tensor]:
    stored, kl_weight = case.tensors, float(case.setting("kl_beta"))
    frames = case.tensor("inputs/frames")
    embodiment, states = stored["batch/embodiment_ids"], stored["batch/states"][:, 0]
    mask = stored["batch/state_mask"][:, 0]
    darker = second_view(case)
    with torch.inference_mode():
        features, second = (lam.vision_encoder(view.flatten(0, 1)).unflatten(0, view.shape[:2]) for view in (frames, darker))
        nodes = lam.encoder(features)
        mean, log_variance = lam.vq.unclamped(nodes)
        posterior_mean, clamped = lam.vq(nodes)
        z = lam.vq.sample(posterior_mean, clamped, stored["lam/eps"])
        former = lam.encoder.QFormer
        context = (lam.encoder.project_in(features) + lam.encoder.code).flatten(1, 2)
        return {
            "lam/encoder_input_features": features,
            "lam/query_after_cross_attention": former.q_cross_attn(former.queries.expand(len(frames), -1, -1), context),
            "lam/encoder_nodes": nodes,
            "lam/mu": mean,
            "lam/logvar_before_clamp": log_variance,
            "lam/z": z,
            "lam/vq_loss": (kl_weight * lam.vq.divergence(posterior_mean, clamped)).reshape(1),
            "lam/dec_in": second[:, :1],
            "lam/target": second[:, 1:],
            "lam/recon": lam.decoder(second[:, 0], z)[:, None],
            "lam/delta_state_pred": lam.state_decoder(z, states * mask, embodiment) * mask,
            "eval/latent_mean": posterior_mean,
            "eval/recon": lam.decoder(second[:, 0], posterior_mean)[:, None],
            "eval/delta_state_pred": lam.state_decoder(posterior_mean, states * mask, embodiment) * mask,
            "eval/delta_state_pred_zero_state": lam.state_decoder(posterior_mean, torch.zeros_like(states), embodiment),
        }


def second_view(case: GoldenCase) -> Tensor:
    """Frames (B, 2, 3, H, W) uint8 as the decoder path saw them, darkened: "floor(FACTOR * inputs/frames) as uint8"."""
    match = re.match(r"floor\(([\d.]+) \* inputs/frames\)", str(case.setting("dec_frames")))
    if match is None:
        raise UserMistake(
            f"golden case '{case.name}': expected dec_frames like 'floor(0.8 * inputs/frames)', got {case.setting('dec_frames')!r}"
        )
    return (float(match[1]) * case.tensor("inputs/frames").float()).floor().to(torch.uint8)


def stage1_model(case: GoldenCase) -> LatentActionModel:
    """Latent action model with the stage-1 weights that the runs of the folder started from."""
    for run in sorted((case.folder / "runs").glob("*/config.yaml")):
        config, _ = read_config(run.parent)
        weights = case.folder / str(config.training.get("lam_ckpt_path", ""))
        if weights.is_file():
            return _load(config, weights)
    raise UserMistake(f"golden case '{case.name}': expected a run whose config.yaml names the stage-1 weights (lam_ckpt_path), found none")


def _load(config: ModelConfig, weights: Path) -> LatentActionModel:
    state = canonical_state({PREFIX + key: tensor for key, tensor in read_tensors(weights).items()}, str(weights))
    states = state.get(STATE_PREDICTOR)
    if states is not None:
        config = replace(config, lam=replace(config.lam, max_state_dim=states.shape[1]))
    holder = nn.ModuleDict({"lam": LatentActionModel(config)})
    holder.load_state_dict(module_state(state, holder, (), str(weights)))
    model = holder.eval()["lam"]
    assert isinstance(model, LatentActionModel)
    return model
