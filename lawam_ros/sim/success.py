"""How far an attempt at pick-and-place got: an accumulator of world states."""

from dataclasses import dataclass

import numpy as np

from lawam_ros.sim.world import WorldState

STAGES = ("reached", "grasped", "lifted", "placed")
REACH_DISTANCE_M = 0.03
LIFT_HEIGHT_M = 0.03
TABLE_TOLERANCE_M = 0.01
REST_SPEED_M_S = 0.05


@dataclass(frozen=True)
class PickPlaceResult:
    """Verdict so far. ``success`` and ``final_error_m`` speak of the last state, ``stages`` of anything that ever happened."""

    success: bool
    stages: dict[str, bool]
    final_error_m: float
    min_tcp_cube_distance_m: float


class PickPlaceMeasure:
    """Feed every state of an episode to ``update``; read ``result`` at any time.

    Success: the cube's centre lies within ``success_radius_m`` of the pad's (horizontally), the cube rests on the table and no finger
    touches it. Reached: TCP within 3 cm of the cube's centre. Grasped: both fingers touch it. Lifted: held with the cube 3 cm above the
    table. Placed: success after a lift (a cube pushed onto the pad is a success, but not placed).
    """

    def __init__(self, cube_size_m: float, success_radius_m: float) -> None:
        self._rest_height_m = cube_size_m / 2
        self._radius_m = success_radius_m
        self._stages = dict.fromkeys(STAGES, False)
        self._min_distance_m = np.inf
        self._error_m = np.inf
        self._success = False

    def update(self, state: WorldState) -> None:
        height = float(state.cube.position_m[2]) - self._rest_height_m
        distance = float(np.linalg.norm(state.tcp.position_m - state.cube.position_m))
        self._min_distance_m = min(self._min_distance_m, distance)
        self._error_m = float(np.linalg.norm(state.cube.position_m[:2] - state.pad_position_m[:2]))
        held = state.fingers_touching == 2
        on_table = abs(height) < TABLE_TOLERANCE_M and state.cube_speed_m_s < REST_SPEED_M_S
        self._success = self._error_m <= self._radius_m and on_table and state.fingers_touching == 0
        self._stages["reached"] |= distance <= REACH_DISTANCE_M
        self._stages["grasped"] |= held
        self._stages["lifted"] |= held and height >= LIFT_HEIGHT_M
        self._stages["placed"] |= self._success and self._stages["lifted"]

    def result(self) -> PickPlaceResult:
        return PickPlaceResult(self._success, dict(self._stages), self._error_m, float(self._min_distance_m))
