"""The whole model: language adapter, query head, latent action model and action expert under their official names."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.flow_head import FlowHead
from lawam_ros.model.latent_action_model import InverseDynamicsEncoder, StatePredictor, VaeBottleneck, WorldModelDecoder
from lawam_ros.model.prompt import PromptBatch
from lawam_ros.model.vision_encoder import build_vision_encoder
from lawam_ros.model.vlm import QueryHead, QwenAdapter, rows_at


@dataclass(frozen=True)
class VlmOutput:
    """Final language states h_vlm (B, L, D), latent action z (B, 1, code_dim), attention_mask (B, L) or None if nothing is padded."""

    h_vlm: Tensor
    z: Tensor
    attention_mask: Tensor | None


class LatentActionModel(nn.Module):
    """Frozen vision encoder, inverse-dynamics encoder, bottleneck, latent world model and state predictor."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        lam, feature_dim = config.lam, config.feature_dim
        self.vision_encoder = build_vision_encoder(config.vision_encoder, lam.grid_hw)
        self.encoder = InverseDynamicsEncoder(lam, feature_dim)
        self.vq = VaeBottleneck(lam.code_dim)
        self.decoder = WorldModelDecoder(lam, feature_dim)
        self.state_decoder = StatePredictor(lam)

    def drop_training_parts(self) -> None:
        """Forget the modules inference never calls."""
        del self.encoder, self.vq, self.state_decoder

    @torch.no_grad()
    def teacher_latent(self, features: Tensor) -> Tensor:
        """Posterior mean (B, 1, code_dim) of the latent action between two frames, features (B, 2, N, F)."""
        return self.vq(self.encoder(features))[0]


class LaWAM(nn.Module):
    """Latent world action model. State-dict names are the official ones without the leading ``policy_backend.``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.act_query = nn.Parameter(0.02 * torch.randn(config.action_queries, config.vlm_dim))
        self.flow_action_query = nn.Parameter(0.02 * torch.randn(config.flow_queries, config.vlm_dim))
        self.vlm = QwenAdapter(config.base_vlm, config.language_layers, config.image_size)
        self.vlm_to_lam = QueryHead(config.vlm_dim, config.lam.code_dim)
        self.lam = LatentActionModel(config)
        self.flow = FlowHead(config.flow)

    def encode_images(self, frames: Tensor) -> Tensor:
        """Frames uint8 or float 0..255 (..., 3, S, S) to frozen features (..., N, F), float32, without gradient."""
        features = self.lam.vision_encoder(frames.flatten(0, -4))
        return features.unflatten(0, frames.shape[:-3])

    def features_of(self, features: Tensor | None, frames: Tensor | None) -> Tensor:
        """Features where they are known, else those of the frames; one of both is given."""
        if features is not None:
            return features
        assert frames is not None, "expected features or frames"
        return self.encode_images(frames)

    @property
    def foresees(self) -> bool:
        """Whether the action expert reads predicted features (``future_prediction``); without, it reads the present ones in their place."""
        return bool(self.config.training.get("future_prediction", True))

    def foresee(self, h_t: Tensor, z: Tensor) -> Tensor:
        """The subgoal (B, N, F) of features h_t of that shape and latent actions z (B, 1, code_dim)."""
        future: Tensor = self.lam.decoder(h_t, z) if self.foresees else h_t
        return future

    def vlm_forward(self, prompt: PromptBatch, frames: Tensor) -> VlmOutput:
        """Prompts and the images they mention to language states and latent action.

        frames: uint8 (N, 3, S, S): the images of row 0, then of row 1, ...; primary before wrist within a row.
        """
        hidden = self.vlm(prompt, frames, self.act_query, self.flow_action_query)
        z = self.vlm_to_lam(rows_at(hidden, prompt.act_mask, self.config.action_queries))
        return VlmOutput(hidden, z, prompt.attention_mask if prompt.padded else None)


def build_model(config: ModelConfig, device: torch.device | str = "cpu") -> LaWAM:
    """LaWAM with random weights; ``meta`` gives shapes only (weights of a third-party vision encoder are always real)."""
    with torch.device(device):
        model = LaWAM(config)
    if config.base_vlm["text_config"].get("hidden_size") != config.flow.vlm_dim:
        raise UserMistake("the action expert and the language model disagree on their width")
    return model if str(device) == "meta" else model.to(device)
