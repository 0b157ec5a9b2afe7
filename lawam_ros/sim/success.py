"""How far an attempt at a task got: accumulators of world states."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lawam_ros.sim.towel import CORNERS, TowelParameters
from lawam_ros.sim.world_state import WorldState

REACH_DISTANCE_M = 0.03
LIFT_HEIGHT_M = 0.03
TABLE_TOLERANCE_M = 0.01
REST_SPEED_M_S = 0.05
CARRIED_HEIGHT_M = 0.05


@dataclass(frozen=True)
class Result:
    """Verdict so far. ``success`` and ``final_error_m`` speak of the last state, ``stages`` of anything that ever happened."""

    success: bool
    stages: dict[str, bool]
    final_error_m: float
    min_tcp_object_distance_m: float


class Measure(Protocol):
    """Feed every state of an episode to ``update``; read ``result`` at any time."""

    def update(self, state: WorldState) -> None: ...

    def result(self) -> Result: ...


class PickPlaceMeasure:
    """Success: the cube's centre lies within ``success_radius_m`` of the pad's (horizontally), the cube rests on the table and no finger
    touches it. Reached: TCP within 3 cm of the cube's centre. Grasped: both fingers touch it. Lifted: held with the cube 3 cm above the
    table. Placed: success after a lift (a cube pushed onto the pad is a success, but not placed). Error: cube to pad, horizontally.
    """

    def __init__(self, success_radius_m: float) -> None:
        self._radius_m = success_radius_m
        self._stages = dict.fromkeys(("reached", "grasped", "lifted", "placed"), False)
        self._min_distance_m = np.inf
        self._error_m = np.inf
        self._success = False

    def update(self, state: WorldState) -> None:
        cube = state.cube
        if cube is None:
            raise ValueError("expected a world with a cube")
        height = float(cube.pose.position_m[2]) - cube.size_m / 2
        distance = float(np.linalg.norm(state.hand.tcp.position_m - cube.pose.position_m))
        self._min_distance_m = min(self._min_distance_m, distance)
        self._error_m = float(np.linalg.norm(cube.pose.position_m[:2] - cube.pad_position_m[:2]))
        held = cube.fingers_touching == 2
        on_table = abs(height) < TABLE_TOLERANCE_M and cube.speed_m_s < REST_SPEED_M_S
        self._success = self._error_m <= self._radius_m and on_table and cube.fingers_touching == 0
        self._stages["reached"] |= distance <= REACH_DISTANCE_M
        self._stages["grasped"] |= held
        self._stages["lifted"] |= held and height >= LIFT_HEIGHT_M
        self._stages["placed"] |= self._success and self._stages["lifted"]

    def result(self) -> Result:
        return Result(self._success, dict(self._stages), self._error_m, float(self._min_distance_m))


class DrawerMeasure:
    """Success: the drawer is open by ``success_opening_m`` or more, at rest, and no finger touches the handle. Contact: a finger touched
    it. Handle: both fingers did. Opened: far enough, in whatever way. Released: success after both fingers had it. Error: what is missing
    to the opening, 0 where nothing is.
    """

    def __init__(self, success_opening_m: float) -> None:
        self._opening_m = success_opening_m
        self._stages = dict.fromkeys(("contact", "handle", "opened", "released"), False)
        self._min_distance_m = np.inf
        self._error_m = success_opening_m
        self._success = False

    def update(self, state: WorldState) -> None:
        drawer = state.drawer
        if drawer is None:
            raise ValueError("expected a world with a cabinet")
        self._min_distance_m = min(self._min_distance_m, drawer.distance_m(state.hand.tcp.position_m))
        self._error_m = max(0.0, self._opening_m - drawer.opened_m)
        opened = drawer.opened_m >= self._opening_m
        self._success = opened and drawer.speed_m_s < REST_SPEED_M_S and drawer.fingers_touching == 0
        self._stages["contact"] |= drawer.fingers_touching > 0
        self._stages["handle"] |= drawer.fingers_touching == 2
        self._stages["opened"] |= opened
        self._stages["released"] |= self._success and self._stages["handle"]

    def result(self) -> Result:
        return Result(self._success, dict(self._stages), self._error_m, float(self._min_distance_m))


class TowelMeasure:
    """Success: the moved corners lie within ``success_corner_m`` of their partners (mean, horizontally), the towel covers at most
    ``success_area_ratio`` of the table it covered at the start, no vertex is higher than ``success_height_m`` over the table, and no hand
    holds it. Held: a hand held it. Carried: both held it at once, 5 cm over the table. Folded: corners and area are right, in whatever way.
    Released: success after it was carried. Error: the mean corner error.
    """

    def __init__(self, parameters: TowelParameters) -> None:
        self._parameters = parameters
        self._stages = dict.fromkeys(("held", "carried", "folded", "released"), False)
        self._min_distance_m = np.inf
        self._error_m = np.inf
        self._success = False

    def update(self, state: WorldState) -> None:
        towel, limits = state.towel, self._parameters
        if towel is None:
            raise ValueError("expected a world with a towel")
        if not np.isfinite(towel.vertices_m).all():
            self._success, self._error_m = False, np.inf
            return
        corners = towel.vertices_m[[CORNERS.far_left, CORNERS.far_right]]
        places = [hand.tcp.position_m for hand in state.hands.values()]
        self._min_distance_m = min(self._min_distance_m, *(float(np.linalg.norm(corners - place, axis=1).min()) for place in places))
        self._error_m = float(np.mean(towel.corner_errors_m))
        held = [vertex is not None for vertex in towel.held.values()]
        folded = self._error_m <= limits.success_corner_m and towel.area_ratio <= limits.success_area_ratio
        self._success = folded and towel.height_m <= limits.success_height_m and not any(held)
        self._stages["held"] |= any(held)
        self._stages["carried"] |= all(held) and towel.height_m >= CARRIED_HEIGHT_M
        self._stages["folded"] |= folded
        self._stages["released"] |= self._success and self._stages["carried"]

    def result(self) -> Result:
        return Result(self._success, dict(self._stages), self._error_m, float(self._min_distance_m))
