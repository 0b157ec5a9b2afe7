"""Where things may stand on the table: occupied ground and free places. Frame: the arm's base, x and y in m."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake

Array = NDArray[np.float64]

_MAX_TRIES = 10_000


@dataclass(frozen=True)
class Ground:
    """A rectangle on the table, turned by ``yaw_rad`` about its centre, that something stands on or sweeps over."""

    centre_m: Array
    half_m: Array
    yaw_rad: float

    def distance_m(self, point_m: Array) -> float:
        """Distance of a point from the rectangle, 0 inside."""
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        x, y = np.asarray(point_m) - self.centre_m
        outside = np.maximum(np.abs([cos * x + sin * y, cos * y - sin * x]) - self.half_m, 0.0)
        return float(np.hypot(*outside))


def spot(point_m: Array, radius_m: float = 0.0) -> Ground:
    """Ground of something small and round."""
    return Ground(np.asarray(point_m, dtype=float), np.full(2, radius_m), 0.0)


def draw_free(
    random: np.random.Generator, lower_m: Sequence[float], upper_m: Sequence[float], taken: Sequence[Ground], clearance_m: float, what: str
) -> Array:
    """A point of the area, uniform among those at least ``clearance_m`` away from all taken ground. UserMistake when there is none."""
    lower, upper = np.array(lower_m, dtype=float), np.array(upper_m, dtype=float)
    for _ in range(_MAX_TRIES):
        point = random.uniform(lower, upper)
        if all(ground.distance_m(point) >= clearance_m for ground in taken):
            return point
    raise UserMistake(
        f"expected a free place for the {what}, {clearance_m:g} m away from everything in the area {lower} to {upper}, found none; "
        "enlarge the area or take something off the table"
    )
