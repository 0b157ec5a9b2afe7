"""The way of the hand that a chunk asks for, drawn into a camera's picture."""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Array = NDArray[np.float64]

SOON, LATE, DONE = (255, 235, 60), (235, 40, 120), (150, 150, 150)
"""Colours of the next point, of the last one, and of what is over."""
_OUTLINE = (20, 20, 20)
_GRIPPER_STEP_M = 0.01
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class ChunkPath:
    """Path of one hand: pixels (N, 2), nan where out of sight; seconds from the picture to each point (N,), past ones below 0; gripper
    opening (N,), m."""

    pixels: Array
    ahead_s: Array
    opening_m: Array


def draw_path(picture: Rgb, path: ChunkPath) -> None:
    """Draws into the picture: a line from yellow (soon) to red (late), grey behind; a ring where the gripper closes, a square where it
    opens, a dot at the end."""
    horizon_s = max(float(path.ahead_s[-1]), 1e-6)
    thickness = max(2, round(picture.shape[1] / 250))
    seen = ~np.isnan(path.pixels[:, 0])
    steps = np.flatnonzero(seen[:-1] & seen[1:])
    for i in steps:
        _line(picture, path.pixels[i : i + 2], _OUTLINE, thickness + 2)
    for i in steps:
        _line(picture, path.pixels[i : i + 2], path_colour(path.ahead_s[i + 1] / horizon_s), thickness)
    for index, closes in gripper_events(path.opening_m):
        if seen[index]:
            _event(picture, path.pixels[index], closes, 2 * thickness + 2)
    if seen[-1]:
        cv2.circle(picture, _fixed(path.pixels[-1]), (thickness + 1) << _SUBPIXEL_BITS, LATE, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def path_colour(share: float) -> tuple[int, int, int]:
    """Colour at a share of the time that is left of a chunk; what is over has a share below 0."""
    if share <= 0.0:
        return DONE
    red, green, blue = (round(a + (b - a) * min(share, 1.0)) for a, b in zip(SOON, LATE, strict=True))
    return red, green, blue


def gripper_events(opening_m: Array) -> list[tuple[int, bool]]:
    """Points from which the opening (N,) changes by more than a centimetre without turning back: (index, whether it closes)."""
    turns = np.flatnonzero(np.diff(np.sign(np.diff(opening_m)))) + 1
    bounds = [0, *turns.tolist(), len(opening_m) - 1]
    changes = [(start, float(opening_m[end] - opening_m[start])) for start, end in itertools.pairwise(bounds)]
    return [(start, change < 0.0) for start, change in changes if abs(change) > _GRIPPER_STEP_M]


def _line(picture: Rgb, ends: Array, colour: tuple[int, int, int], thickness: int) -> None:
    cv2.line(picture, _fixed(ends[0]), _fixed(ends[1]), colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _event(picture: Rgb, pixel: Array, closes: bool, radius: int) -> None:
    x, y = (round(float(value)) for value in pixel)
    for colour, thickness in ((_OUTLINE, 4), ((255, 255, 255), 2)):
        if closes:
            cv2.circle(picture, (x, y), radius, colour, thickness, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, (x - radius, y - radius), (x + radius, y + radius), colour, thickness, cv2.LINE_AA)


def _fixed(pixel: Array) -> tuple[int, int]:
    """Pixel in OpenCV's fixed-point numbers."""
    x, y = (round(float(value) * (1 << _SUBPIXEL_BITS)) for value in pixel)
    return x, y
