"""Camera images to what the two vision towers read: the same path for the policy and the latent action model."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.config import ModelConfig

MAX_ASPECT = (4, 3)


def to_uint8_rgb(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """(H, W), (H, W, 1) or (H, W, 3) of any number type to uint8 (H, W, 3).

    Float images whose maximum is at most 1 are taken as 0..1; all are clipped to 0..255 and truncated.
    """
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise UserMistake(f"expected an image of shape (H, W), (H, W, 1) or (H, W, 3), got {image.shape}")
    if image.dtype != np.uint8:
        # In the image's own precision: truncation makes a whole grey level of a rounding error.
        floating = np.issubdtype(image.dtype, np.floating)
        values: NDArray[Any] = image if floating else image.astype(np.float32)
        if not np.all(np.isfinite(values)):
            raise UserMistake("expected an image of finite numbers, got NaN or infinity")
        if floating and float(values.max()) <= 1.0 + 1e-6:
            values = values * 255.0
        image = np.clip(values, 0.0, 255.0).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image).astype(np.uint8, copy=False)


def prepare_image(image: NDArray[np.generic], size: int | tuple[int, int] = 256, centre_crop_90: bool = False) -> Tensor:
    """One camera image to uint8 (3, size, size): width capped at 4:3, optional centre crop of 90 % area, antialiased resize.

    size: side in pixels, or (height, width).
    """
    chw = torch.from_numpy(to_uint8_rgb(image)).permute(2, 0, 1)
    chw = _cap_width(chw)
    if centre_crop_90:
        chw = _centre_crop_90(chw)
    height, width = (size, size) if isinstance(size, int) else size
    return resize_uint8(chw, height, width)


def prepare_view(image: NDArray[np.generic], config: ModelConfig) -> Tensor:
    """One camera image as the model of ``config`` wants it: (3, S, S), uint8, or float32 0..255 for squashed images."""
    if config.squashed_images:
        return squash_image(image, config.image_size)
    return prepare_image(image, config.image_size, config.centre_crop_90)


def squash_image(image: NDArray[np.generic], size: int = 256) -> Tensor:
    """One camera image to float32 0..255 (3, size, size) as LeRobot does it: antialiased in float, aspect ratio not kept, no crop."""
    chw = torch.from_numpy(to_uint8_rgb(image)).permute(2, 0, 1)[None].float() / 255.0
    if chw.shape[-2:] != (size, size):
        chw = F.interpolate(chw, size=(size, size), mode="bilinear", antialias=True, align_corners=False).clamp(0.0, 1.0)
    return chw[0] * 255.0


def resize_uint8(chw: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bilinear resize of uint8 (3, H, W), computed on uint8 as the official preparation does."""
    if chw.shape[-2:] == (height, width):
        return chw.contiguous()
    # The channels-last layout picks the same integer kernel the official resize ends up with.
    batch = chw[None].contiguous(memory_format=torch.channels_last)
    return F.interpolate(batch, size=(height, width), mode="bilinear", antialias=True, align_corners=False)[0].contiguous()


def _cap_width(chw: Tensor) -> Tensor:
    height, width = chw.shape[-2:]
    crop = height * MAX_ASPECT[0] // MAX_ASPECT[1]
    if width * MAX_ASPECT[1] <= height * MAX_ASPECT[0]:
        return chw
    left = (width - crop) // 2
    return chw[:, :, left : left + crop]


def _centre_crop_90(chw: Tensor) -> Tensor:
    height, width = chw.shape[-2:]
    crop_height, crop_width = round(height * 0.9**0.5), round(width * 0.9**0.5)
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    crop = chw[None, :, top : top + crop_height, left : left + crop_width].float()
    # Unlike the final resize, this one is computed in float and rounded.
    resized = F.interpolate(crop, size=(height, width), mode="bilinear", antialias=True, align_corners=False)[0]
    return resized.round().clamp(0, 255).to(torch.uint8)


def image_patches(frames: Tensor, patch: int, merge: int, temporal: int = 2) -> Tensor:
    """Pixel rows of the language model's vision tower.

    frames: uint8 or float 0..255, (N, 3, H, W). Returns float32 (N, H/patch * W/patch, 3 * temporal * patch * patch) in -1..1, tokens in
    ``merge`` x ``merge`` blocks, every frame repeated ``temporal`` times.
    """
    count, channels, height, width = frames.shape
    if height % (patch * merge) or width % (patch * merge):
        raise UserMistake(f"expected frames whose sides are multiples of {patch * merge}, got {height}x{width}")
    rows, columns = height // (patch * merge), width // (patch * merge)
    # Reordered before the conversion: uint8 moves a quarter of the memory.
    blocks = frames.reshape(count, channels, rows, merge, patch, columns, merge, patch).permute(0, 2, 5, 3, 6, 1, 4, 7).contiguous()
    blocks = blocks.to(torch.float32).sub_(127.5).div_(127.5)
    blocks = blocks[:, :, :, :, :, :, None].expand(-1, -1, -1, -1, -1, -1, temporal, -1, -1)
    return blocks.reshape(count, rows * columns * merge * merge, channels * temporal * patch * patch)
