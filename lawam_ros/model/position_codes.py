"""Fixed position and time codes. Tables are float32, never stored in checkpoints, and always made on the CPU."""

import math

import torch
from torch import Tensor


def interleaved_code(length: int, width: int) -> Tensor:
    """Sinusoids (length, width): channel 2j = sin(p * 10000^(-2j/width)), channel 2j+1 = cos of the same."""
    position = torch.arange(length, dtype=torch.float32, device="cpu")[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32, device="cpu") * (-math.log(10000.0) / width))
    code = torch.zeros(length, width, device="cpu")
    code[:, 0::2] = torch.sin(position * frequency)
    code[:, 1::2] = torch.cos(position * frequency)[:, : width // 2]
    return code


def world_model_code(width: int, rows: int, columns: int) -> Tensor:
    """Position table (rows * columns, width) of the latent world model.

    Both axes start at channel 0 and are summed, so the upper half of the channels stays zero and (i, j) equals (j, i). The released
    weights were trained with this table.
    """
    half = width // 2
    code = torch.zeros(rows, columns, width, device="cpu")
    code[:, :, :half] += interleaved_code(rows, half)[:, None]
    code[:, :, :half] += interleaved_code(columns, half)[None, :]
    return code.reshape(rows * columns, width)


def inverse_dynamics_code(width: int, frames: int, rows: int, columns: int) -> Tensor:
    """Position table (frames, rows * columns, width) of the inverse-dynamics encoder; the three axes overlap from channel 0 on."""
    time_width, row_width = width // 2, width // 4
    column_width = width - time_width - row_width
    code = torch.zeros(frames, rows, columns, width, device="cpu")
    code[..., :time_width] += interleaved_code(frames, time_width)[:, None, None]
    code[..., :row_width] += interleaved_code(rows, row_width)[None, :, None]
    code[..., :column_width] += interleaved_code(columns, column_width)[None, None, :]
    return code.reshape(frames, rows * columns, width)


def grid_code(width: int, rows: int, columns: int) -> Tensor:
    """Non-symmetric position code (rows * columns, width): the first half of the channels speaks of the row, the second of the column.

    Made for convolutional features, which carry no position: per axis sines and cosines of pi * c * 2^k for the centred coordinate
    c in -1..1 and k = -1, 0, 1, ... up to the Nyquist limit of the grid, repeated over the channels. k = -1 is monotonic across the image,
    so a linear map reads the coordinate off it.
    """
    return torch.cat(
        [
            _axis_code(rows, width - width // 2)[:, None].expand(-1, columns, -1),
            _axis_code(columns, width // 2)[None].expand(rows, -1, -1),
        ],
        dim=-1,
    ).reshape(rows * columns, width)


def _axis_code(length: int, width: int) -> Tensor:
    coordinate = (torch.arange(length, dtype=torch.float32, device="cpu") + 0.5) / length * 2 - 1
    octaves = torch.arange(-1, max(1, int(math.log2(length)) - 1), dtype=torch.float32, device="cpu")
    angle = math.pi * coordinate[:, None] * torch.exp2(octaves)
    waves = torch.stack([torch.sin(angle), torch.cos(angle)], dim=-1).flatten(1)
    return waves.repeat(1, -(-width // waves.shape[1]))[:, :width]


def physical_time_code(time_s: Tensor, width: int) -> Tensor:
    """Code (..., width) of times in seconds: sines of the first half, cosines of the second, frequencies 10000^(-k/(width/2 - 1))."""
    half = width // 2
    frequency = torch.exp(torch.arange(half, dtype=torch.float32, device=time_s.device) * (-math.log(10000.0) / max(half - 1, 1)))
    angle = time_s.to(torch.float32)[..., None] * frequency
    code = torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)
    return torch.nn.functional.pad(code, (0, width - 2 * half))


def denoising_time_code(bucket: Tensor, width: int = 256) -> Tensor:
    """Code (..., width) of integer denoising buckets: cosines first, frequencies 10000^(-k/(width/2 - 1))."""
    half = width // 2
    frequency = torch.exp(torch.arange(half, dtype=torch.float32, device=bucket.device) * (-math.log(10000.0) / (half - 1)))
    angle = bucket.to(torch.float32)[..., None] * frequency
    return torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1)
