"""Random crops and colours for training pictures. Parameters are drawn first and applied afterwards, so that frames can share them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CROP_SIDE = 0.9**0.5
"""Side of the crop of 90 % of the area that the policy may be trained with; inference then crops the centre."""

_GREY = (0.2989, 0.587, 0.114)


@dataclass(frozen=True)
class Jitter:
    """Largest relative change of brightness, contrast and saturation, and of the hue as a part of the colour circle."""

    brightness: float
    contrast: float
    saturation: float
    hue: float


WORLD_MODEL_JITTER = Jitter(0.2, 0.2, 0.25, 0.04)
POLICY_JITTER = Jitter(0.1, 0.2, 0.2, 0.03)


@dataclass(frozen=True)
class Augmentation:
    """One draw. box: top, left, height, width as parts of the picture, None no crop. colour: (name, value) in the order of application."""

    box: tuple[float, float, float, float] | None = None
    colour: tuple[tuple[str, float], ...] = ()


def world_model_augmentation(generator: np.random.Generator) -> Augmentation:
    """Crop of 80 to 100 % of the area and aspect ratio 1.0 to 1.3, and colours: one view of stage 1."""
    return Augmentation(random_resized_box(generator, (0.8, 1.0), (1.0, 1.3)), random_colour(generator, WORLD_MODEL_JITTER))


def policy_augmentation(generator: np.random.Generator, crop: bool, colour: bool) -> Augmentation:
    """Crop of 90 % of the area anywhere, and colours, as switched on."""
    box = None
    if crop:
        top, left = generator.uniform(0.0, 1.0 - CROP_SIDE, 2)
        box = (float(top), float(left), CROP_SIDE, CROP_SIDE)
    return Augmentation(box, random_colour(generator, POLICY_JITTER) if colour else ())


def random_resized_box(
    generator: np.random.Generator, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Top, left, height, width as parts of a square picture: ten tries at an area and a log-uniform aspect ratio, else the whole."""
    for _ in range(10):
        area = generator.uniform(*scale)
        aspect = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if width <= 1.0 and height <= 1.0:
            return float(generator.uniform(0.0, 1.0 - height)), float(generator.uniform(0.0, 1.0 - width)), height, width
    side = min(1.0, 1.0 / ratio[0])
    return (1.0 - side) / 2, 0.0, side, 1.0


def random_colour(generator: np.random.Generator, jitter: Jitter) -> tuple[tuple[str, float], ...]:
    """Factors around 1 and a hue shift around 0, in random order."""
    values = [
        (name, float(generator.uniform(max(0.0, 1.0 - amount), 1.0 + amount)))
        for name, amount in (("brightness", jitter.brightness), ("contrast", jitter.contrast), ("saturation", jitter.saturation))
    ]
    values.append(("hue", float(generator.uniform(-jitter.hue, jitter.hue))))
    return tuple(values[index] for index in generator.permutation(len(values)))


def augmented(frames: Tensor, draw: Augmentation) -> Tensor:
    """uint8 frames (..., 3, H, W), all treated alike; same shape and type."""
    if draw.box is None and not draw.colour:
        return frames
    shape = frames.shape
    pictures = frames.reshape(-1, *shape[-3:]).float()
    if draw.box is not None:
        pictures = _cropped(pictures, draw.box)
    pictures = pictures.div(255.0)
    for name, value in draw.colour:
        pictures = _COLOURS[name](pictures, value)
    return pictures.mul(255.0).round().clamp(0, 255).to(torch.uint8).reshape(shape)


def _cropped(pictures: Tensor, box: Sequence[float]) -> Tensor:
    height, width = pictures.shape[-2:]
    rows, columns = max(1, round(box[2] * height)), max(1, round(box[3] * width))
    top, left = min(round(box[0] * height), height - rows), min(round(box[1] * width), width - columns)
    part = pictures[..., top : top + rows, left : left + columns]
    return F.interpolate(part, size=(height, width), mode="bilinear", antialias=True, align_corners=False).clamp(0.0, 255.0)


def _grey(pictures: Tensor) -> Tensor:
    return (pictures * torch.tensor(_GREY, device=pictures.device)[:, None, None]).sum(dim=-3, keepdim=True)


def _brightness(pictures: Tensor, factor: float) -> Tensor:
    return (pictures * factor).clamp(0.0, 1.0)


def _contrast(pictures: Tensor, factor: float) -> Tensor:
    mean = _grey(pictures).mean(dim=(-3, -2, -1), keepdim=True)
    return (factor * pictures + (1.0 - factor) * mean).clamp(0.0, 1.0)


def _saturation(pictures: Tensor, factor: float) -> Tensor:
    return (factor * pictures + (1.0 - factor) * _grey(pictures)).clamp(0.0, 1.0)


def _hue(pictures: Tensor, shift: float) -> Tensor:
    """Turn of the colour circle: through hue, saturation and value."""
    red, green, blue = pictures.unbind(-3)
    high, low = pictures.max(dim=-3).values, pictures.min(dim=-3).values
    span = high - low
    safe = torch.where(span > 0, span, torch.ones_like(span))
    hue = torch.where(high == red, (green - blue) / safe, torch.where(high == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe))
    hue = (torch.where(span > 0, hue / 6.0, torch.zeros_like(hue)) + shift) % 1.0
    sector = torch.stack([(hue * 6.0 + offset) % 6.0 for offset in (5.0, 3.0, 1.0)], dim=-3)
    return high.unsqueeze(-3) - span.unsqueeze(-3) * torch.minimum(sector, 4.0 - sector).clamp(0.0, 1.0)


_COLOURS = {"brightness": _brightness, "contrast": _contrast, "saturation": _saturation, "hue": _hue}
