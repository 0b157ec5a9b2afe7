"""A cube and the flat pad it belongs on: parameters, MuJoCo text, where they start, how they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.records import Pose
from lawam_ros.contract.yaml_fields import Fields
from lawam_ros.sim.contacts import FingerContacts
from lawam_ros.sim.layout import Ground, draw_free, spot
from lawam_ros.sim.mjcf_text import rgba

Array = NDArray[np.float64]

PAD_HALF_SIZE_M = 0.05
_MAX_LAYOUT_TRIES = 10_000
_CLEARANCE_M = 0.06


@dataclass(frozen=True)
class CubeParameters:
    """Part of a task file's world section. The area bounds cube and pad centres in the arm's base frame, x and y in m."""

    size_m: float
    mass_kg: float
    rgb: tuple[float, ...]
    pad_rgb: tuple[float, ...]
    area_lower_m: tuple[float, ...]
    area_upper_m: tuple[float, ...]
    min_distance_m: float
    yaw_rad: float
    success_radius_m: float


def cube_parameters(fields: Fields, where: str) -> CubeParameters:
    """Reads and checks its keys. Raises UserMistake naming the key."""
    parameters = CubeParameters(
        size_m=fields.number("cube_size_m", 0.01, 0.07),
        mass_kg=fields.number("cube_mass_kg", 0.001, 2.0),
        rgb=tuple(fields.vector("cube_rgb", 3)),
        pad_rgb=tuple(fields.vector("pad_rgb", 3)),
        area_lower_m=tuple(fields.vector("area_lower_m", 2)),
        area_upper_m=tuple(fields.vector("area_upper_m", 2)),
        min_distance_m=fields.number("min_distance_m", 0.0, 1.0),
        yaw_rad=fields.number("cube_yaw_rad", 0.0, 0.7853981633974483),
        success_radius_m=fields.number("success_radius_m", 0.001, 0.5),
    )
    width = [upper - lower for lower, upper in zip(parameters.area_lower_m, parameters.area_upper_m, strict=True)]
    if min(width) < 0.0 or max(width) < parameters.min_distance_m:
        raise UserMistake(
            f"{where}: expected area_lower_m below area_upper_m and min_distance_m to fit into the area, "
            f"got an area of {width[0]:g} x {width[1]:g} m and min_distance_m {parameters.min_distance_m:g}"
        )
    return parameters


@dataclass(frozen=True)
class CubeState:
    """``fingers_touching`` counts fingers (0 to 2) in contact with the cube; both positions are centres, the pad's on the table."""

    pose: Pose
    speed_m_s: float
    size_m: float
    pad_position_m: Array
    fingers_touching: int


def cube_xml(parameters: CubeParameters) -> str:
    half = parameters.size_m / 2
    return f"""
    <body name="pad" mocap="true" pos="0.5 0.15 0">
      <geom name="pad" class="picture" type="box" size="{PAD_HALF_SIZE_M} {PAD_HALF_SIZE_M} 0.0015" rgba="{rgba(parameters.pad_rgb)}"
        material="matt"/>
    </body>
    <body name="cube" pos="0.5 0 {half}">
      <freejoint name="cube"/>
      <geom name="cube" class="scene" type="box" size="{half} {half} {half}" mass="{parameters.mass_kg}"
        friction="1 0.05 0.001" condim="4" rgba="{rgba(parameters.rgb)}" material="matt"/>
    </body>"""


class CubeAndPad:
    """The two in a compiled model. The cube's size is read from the model, because it may change between episodes."""

    def __init__(self, model: mujoco.MjModel, parameters: CubeParameters, finger_pads: Sequence[str]) -> None:
        self._model = model
        self._parameters = parameters
        self._qpos_at = int(model.joint("cube").qposadr[0])
        self._qvel_at = int(model.joint("cube").dofadr[0])
        self._geom = int(model.geom("cube").id)
        self._pad = int(model.body("pad").mocapid[0])
        self._contacts = FingerContacts(model, ("cube",), finger_pads)

    def place(self, random: np.random.Generator, data: mujoco.MjData, taken: Sequence[Ground]) -> list[Ground]:
        """Start of an episode; returns the ground now taken as well."""
        parameters, half = self._parameters, float(self._model.geom_size[self._geom, 0])
        cube_xy, pad_xy = _layout(random, parameters, taken)
        yaw = random.uniform(-parameters.yaw_rad, parameters.yaw_rad)
        data.qpos[self._qpos_at : self._qpos_at + 7] = [*cube_xy, half, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        data.mocap_pos[self._pad] = [*pad_xy, 0.0]
        return [spot(cube_xy, half), spot(pad_xy, PAD_HALF_SIZE_M)]

    def state(self, data: mujoco.MjData) -> CubeState:
        at = self._qpos_at
        quat_wxyz = data.qpos[at + 3 : at + 7]
        return CubeState(
            pose=Pose(data.qpos[at : at + 3].copy(), np.array([*quat_wxyz[1:], quat_wxyz[0]])),
            speed_m_s=float(np.linalg.norm(data.qvel[self._qvel_at : self._qvel_at + 3])),
            size_m=2.0 * float(self._model.geom_size[self._geom, 0]),
            pad_position_m=data.mocap_pos[self._pad].copy(),
            fingers_touching=self._contacts.count(data),
        )


def _layout(random: np.random.Generator, parameters: CubeParameters, taken: Sequence[Ground]) -> tuple[Array, Array]:
    """Cube and pad centres (x, y), m: uniform over the free part of the area, at least the minimum distance apart."""
    lower, upper = parameters.area_lower_m, parameters.area_upper_m
    for _ in range(_MAX_LAYOUT_TRIES):
        cube, pad = (draw_free(random, lower, upper, taken, _CLEARANCE_M, what) for what in ("cube", "pad"))
        if np.linalg.norm(cube - pad) >= parameters.min_distance_m:
            return cube, pad
    raise UserMistake(
        f"expected room for cube and pad {parameters.min_distance_m} m apart in the area {lower} to {upper}, found no layout; "
        "enlarge the area or lower min_distance_m"
    )
