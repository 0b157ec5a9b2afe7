"""Points in space to pixels, by the calibration that ROS cameras publish."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FISHEYE = "equidistant"
_COEFFICIENTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8, 12, 14), FISHEYE: (0, 4)}
_NEAR_M = 0.01


@dataclass(frozen=True)
class Pinhole:
    """Calibration of a picture: size (px), focal lengths and principal point in ``matrix`` (3, 3), distortion by its model's name.

    rotate_deg: how far the picture is turned clockwise before it is shown; pixels come out in the turned picture.
    """

    width: int
    height: int
    matrix: Array
    model: str = "plumb_bob"
    distortion: tuple[float, ...] = ()
    rotate_deg: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be a calibration; drivers of cameras nobody calibrated publish zeros."""
        if self.matrix.shape != (3, 3) or not np.all(np.isfinite(self.matrix)) or min(self.matrix[0, 0], self.matrix[1, 1]) <= 0.0:
            raise ValueError("expected a calibrated camera, got focal lengths of zero")
        if len(self.distortion) not in _COEFFICIENTS.get(self.model, ()):
            raise ValueError(f"expected distortion {', '.join(_COEFFICIENTS)}, got {self.model!r} with {len(self.distortion)} numbers")

    @classmethod
    def from_info(cls, info: Any, rectified: bool, rotate_deg: int) -> "Pinhole":
        """Calibration of a sensor_msgs/CameraInfo. rectified: of images without distortion. Raises ValueError."""
        if rectified:
            return cls(int(info.width), int(info.height), np.array(info.p, dtype=float).reshape(3, 4)[:, :3], rotate_deg=rotate_deg)
        matrix, distortion = np.array(info.k, dtype=float).reshape(3, 3), tuple(float(value) for value in info.d)
        return cls(int(info.width), int(info.height), matrix, str(info.distortion_model) or "plumb_bob", distortion, rotate_deg)

    def pixels(self, points_m: Array) -> Array:
        """Pixels (N, 2), x right and y down, of points (N, 3) in the optical frame; nan for what is behind the camera or far beside the
        picture, where a polynomial of distortion means nothing."""
        out = np.full((len(points_m), 2), np.nan)
        ahead = points_m[:, 2] > _NEAR_M
        ahead[ahead] = self._near_the_picture(points_m[ahead])
        if ahead.any():
            out[ahead] = self._turned(self._distorted(points_m[ahead]))
        return out

    def _near_the_picture(self, points_m: Array) -> NDArray[np.bool_]:
        """Within one picture's size around the picture."""
        x, y = ((points_m / points_m[:, 2:]) @ self.matrix.T)[:, :2].T
        return np.asarray((abs(x - 0.5 * self.width) < 1.5 * self.width) & (abs(y - 0.5 * self.height) < 1.5 * self.height))

    def _distorted(self, points_m: Array) -> Array:
        zero = np.zeros(3)
        if self.model == FISHEYE:
            coefficients = np.array(self.distortion or (0.0,) * 4)
            pixels, _ = cv2.fisheye.projectPoints(points_m[None], zero, zero, self.matrix, coefficients)
        else:
            pixels, _ = cv2.projectPoints(points_m, zero, zero, self.matrix, np.array(self.distortion or (0.0,) * 4))
        return np.asarray(pixels, dtype=float).reshape(-1, 2)

    def _turned(self, pixels: Array) -> Array:
        x, y = pixels.T
        right, bottom = self.width - 1, self.height - 1
        turns = {0: (x, y), 90: (bottom - y, x), 180: (right - x, bottom - y), 270: (y, right - x)}
        return np.stack(turns[self.rotate_deg], axis=1)
