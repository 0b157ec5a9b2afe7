"""A task for one hand as an expert field of a robot that has one."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.robot import Arm, Robot
from lawam_ros.sim.expert_field import HandMotion, Mode, Motion, Plan, Plans
from lawam_ros.sim.world_parameters import WorldParameters
from lawam_ros.sim.world_state import WorldState

Array = NDArray[np.float64]

_EASY_LOW_M, _EASY_HIGH_M = np.array([0.32, -0.32, 0.018]), np.array([0.72, 0.32, 0.45])
"""Where a hand that points down can be with the whole arm at ease."""


class HandField(Protocol):
    """What ``ExpertField`` asks, for the only hand."""

    def motion(self, state: WorldState) -> HandMotion: ...

    def mode_of(self, state: WorldState) -> Mode: ...

    def contradicts(self, plan: Plan, state: WorldState) -> bool: ...

    def finished(self, mode: Mode, state: WorldState) -> bool: ...

    def kept_clear(self, position_m: Array, state: WorldState) -> Array: ...


class OneHanded:
    """Hands a field the plan of the only hand."""

    def __init__(self, robot: Robot, parameters: WorldParameters, field: Callable[[Arm, WorldParameters], HandField]) -> None:
        if len(robot.arms) != 1:
            raise UserMistake(f"this task's expert has one hand, robot {robot.name} has {len(robot.arms)}")
        (arm,) = robot.arms
        self._name, self._field = arm.name, field(arm, parameters)

    def motion(self, state: WorldState) -> Motion:
        move = self._field.motion(state)
        return lambda plans, step_s: {self._name: move(plans[self._name], step_s)}

    def modes_of(self, state: WorldState) -> Mapping[str, Mode]:
        return {self._name: self._field.mode_of(state)}

    def contradicts(self, plans: Plans, state: WorldState) -> bool:
        return self._field.contradicts(plans[self._name], state)

    def finished(self, plans: Plans, state: WorldState) -> bool:
        return self._field.finished(plans[self._name].mode, state)

    def kept_clear(self, positions_m: Mapping[str, Array], state: WorldState) -> Mapping[str, Array]:
        easy = np.clip(positions_m[self._name], _EASY_LOW_M, _EASY_HIGH_M)
        return {self._name: self._field.kept_clear(easy, state)}
