"""A cabinet of two cells with one drawer to open: parameters, MuJoCo text, where it stands, how far it is open.

It stands at the arm's left and opens towards the middle of the table (``-y`` of the arm's base at yaw 0). There the sloping hand that a bar
handle needs is a mere tilt of the hand that points down, far from every joint limit, and the front camera sees handle and opening; a
cabinet that opens towards the robot turns its back to that camera.

Frame of the cabinet: origin on the table below the middle of its front, x out of the front (the drawer's way), z up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.yaml_fields import Fields
from lawam_ros.sim.contacts import FingerContacts
from lawam_ros.sim.layout import Ground, draw_free
from lawam_ros.sim.mjcf_text import rgba

Array = NDArray[np.float64]

TOP, BOTTOM = "top", "bottom"
TRAVEL_M = 0.18
HANDLE_STANDOFF_M = 0.045
HANDLE_RADIUS_M = 0.007
HANDLE_HALF_LENGTH_M = 0.06
_HALF_WIDTH_M, _HALF_DEPTH_M, _HALF_HEIGHT_M = 0.15, 0.13, 0.06  # of a cell
_WALL_M = 0.008
_GAP_M = 0.004
_YAW_AT_REST_RAD = -math.pi / 2
_HAND_ROOM_M = 0.02
_CELL_Z_M = {
    BOTTOM: _WALL_M + _GAP_M + _HALF_HEIGHT_M,
    TOP: 2 * _WALL_M + 3 * _GAP_M + 3 * _HALF_HEIGHT_M,
}
_HEIGHT_M = 3 * _WALL_M + 4 * _GAP_M + 4 * _HALF_HEIGHT_M


@dataclass(frozen=True)
class CabinetParameters:
    """Part of a task file's world section. The area bounds the middle of the front in the arm's base frame, x and y in m."""

    area_lower_m: tuple[float, ...]
    area_upper_m: tuple[float, ...]
    yaw_rad: float
    drawer: str
    success_opening_m: float
    rgb: tuple[float, ...]
    front_rgb: tuple[float, ...]
    handle_rgb: tuple[float, ...]


def cabinet_parameters(fields: Fields) -> CabinetParameters:
    """Reads and checks its keys. Raises UserMistake naming the key."""
    return CabinetParameters(
        area_lower_m=tuple(fields.vector("cabinet_area_lower_m", 2)),
        area_upper_m=tuple(fields.vector("cabinet_area_upper_m", 2)),
        yaw_rad=fields.number("cabinet_yaw_rad", 0.0, 0.5),
        drawer=fields.choice("drawer", (TOP, BOTTOM)),
        success_opening_m=fields.number("success_opening_m", 0.01, 0.15),
        rgb=tuple(fields.vector("cabinet_rgb", 3)),
        front_rgb=tuple(fields.vector("drawer_rgb", 3)),
        handle_rgb=tuple(fields.vector("handle_rgb", 3)),
    )


@dataclass(frozen=True)
class DrawerState:
    """``handle_m``: middle of the bar. ``outward``, ``along``: unit vectors of the drawer's way and of the bar. ``fingers_touching``
    counts fingers (0 to 2) on the handle."""

    handle_m: Array
    outward: Array
    along: Array
    opened_m: float
    speed_m_s: float
    fingers_touching: int

    def distance_m(self, point_m: Array) -> float:
        """Distance of a point from the axis of the bar."""
        offset = point_m - self.handle_m
        reach = float(np.clip(offset @ self.along, -HANDLE_HALF_LENGTH_M, HANDLE_HALF_LENGTH_M))
        return float(np.linalg.norm(offset - reach * self.along))


def cabinet_xml(parameters: CabinetParameters) -> str:
    """Case, a plain panel before the cell that does not open, and the drawer with its handle."""
    half_inside = _HALF_WIDTH_M + _GAP_M
    depth = 2 * _HALF_DEPTH_M + _GAP_M
    boards = [_box(-depth / 2, 0, z, depth / 2, half_inside + _WALL_M, _WALL_M / 2) for z in _board_heights()]
    boards += [
        _box(-depth / 2, side * (half_inside + _WALL_M / 2), _HEIGHT_M / 2, depth / 2, _WALL_M / 2, _HEIGHT_M / 2) for side in (-1, 1)
    ]
    boards.append(_box(-depth - _WALL_M / 2, 0, _HEIGHT_M / 2, _WALL_M / 2, half_inside + _WALL_M, _HEIGHT_M / 2))
    plain = _CELL_Z_M[BOTTOM if parameters.drawer == TOP else TOP]
    case = "".join(
        f"""
      <geom name="cabinet_{i}" class="scene" {board} rgba="{rgba(parameters.rgb)}" material="matt"/>"""
        for i, board in enumerate(boards)
    )
    return f"""
    <body name="cabinet" mocap="true" pos="0.5 0.33 0">{case}
      <geom name="cabinet_panel" class="scene" {_box(-0.006, 0, plain, 0.006, _HALF_WIDTH_M, _HALF_HEIGHT_M)}
        rgba="{rgba([0.9 * c for c in parameters.front_rgb])}" material="matt"/>{_drawer_xml(parameters)}
    </body>"""


def _board_heights() -> tuple[float, ...]:
    return (_WALL_M / 2, _HEIGHT_M / 2, _HEIGHT_M - _WALL_M / 2)


def _drawer_xml(parameters: CabinetParameters) -> str:
    """Walls of 6 mm, a front of 12 mm flush with the case, a bar on two posts. Its origin is the middle of the front."""
    inner = _HALF_DEPTH_M - 0.006
    walls = [
        _box(-0.006, 0, 0, 0.006, _HALF_WIDTH_M, _HALF_HEIGHT_M),
        _box(-inner - 0.012, 0, -_HALF_HEIGHT_M + 0.003, inner, _HALF_WIDTH_M, 0.003),
        *(_box(-inner - 0.012, side * (_HALF_WIDTH_M - 0.003), -0.01, inner, 0.003, _HALF_HEIGHT_M - 0.01) for side in (-1, 1)),
        _box(-2 * _HALF_DEPTH_M + 0.003, 0, -0.01, 0.003, _HALF_WIDTH_M, _HALF_HEIGHT_M - 0.01),
    ]
    text = "".join(
        f"""
        <geom name="drawer_{i}" class="scene" {wall} mass="0.15" rgba="{rgba(parameters.front_rgb)}" material="matt"/>"""
        for i, wall in enumerate(walls)
    )
    x, y = HANDLE_STANDOFF_M, HANDLE_HALF_LENGTH_M
    bars = [(f"{x} {-y} 0 {x} {y} 0", HANDLE_RADIUS_M), *((f"0 {s * 0.05} 0 {x} {s * 0.05} 0", 0.005) for s in (-1, 1))]
    text += "".join(
        f"""
        <geom name="{name}" class="scene" type="capsule" fromto="{ends}" size="{radius}" mass="0.03" friction="1 0.01 0.001" condim="4"
          rgba="{rgba(parameters.handle_rgb)}" material="matt"/>"""
        for name, (ends, radius) in zip(("handle", "handle_post_0", "handle_post_1"), bars, strict=True)
    )
    return f"""
      <body name="drawer" pos="0 0 {_CELL_Z_M[parameters.drawer]:.4f}">
        <joint name="drawer" type="slide" axis="1 0 0" range="0 {TRAVEL_M}" damping="2" frictionloss="0.6" armature="0.02"/>{text}
      </body>"""


def cabinet_contact_xml() -> str:
    """The slide joint guides the drawer; contacts with the case would only cost time."""
    return """
    <exclude body1="cabinet" body2="drawer"/>"""


def _box(x: float, y: float, z: float, half_x: float, half_y: float, half_z: float) -> str:
    return f'type="box" pos="{x:.4f} {y:.4f} {z:.4f}" size="{half_x:.4f} {half_y:.4f} {half_z:.4f}"'


class Cabinet:
    """The cabinet in a compiled model."""

    def __init__(self, model: mujoco.MjModel, parameters: CabinetParameters, finger_pads: Sequence[str]) -> None:
        self._parameters = parameters
        self._qpos_at = int(model.joint("drawer").qposadr[0])
        self._qvel_at = int(model.joint("drawer").dofadr[0])
        self._mocap = int(model.body("cabinet").mocapid[0])
        self._handle = int(model.geom("handle").id)
        self._contacts = FingerContacts(model, ("handle",), finger_pads)

    def place(self, random: np.random.Generator, data: mujoco.MjData, taken: Sequence[Ground], sunk_m: float = 0.0) -> list[Ground]:
        """Start of an episode, the drawer closed; returns the ground it takes with its drawer open. ``sunk_m``: lower by so much."""
        parameters = self._parameters
        front = draw_free(random, parameters.area_lower_m, parameters.area_upper_m, taken, 0.0, "cabinet")
        yaw = _YAW_AT_REST_RAD + random.uniform(-parameters.yaw_rad, parameters.yaw_rad)
        data.mocap_pos[self._mocap] = [*front, -sunk_m]
        data.mocap_quat[self._mocap] = [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]
        inside, outside = 2 * _HALF_DEPTH_M + _GAP_M + _WALL_M, TRAVEL_M + HANDLE_STANDOFF_M + _HAND_ROOM_M
        out = np.array([math.cos(yaw), math.sin(yaw)])
        half = np.array([(inside + outside) / 2, _HALF_WIDTH_M + _GAP_M + _WALL_M])
        return [Ground(front + out * (outside - inside) / 2, half, yaw)]

    def state(self, data: mujoco.MjData) -> DrawerState:
        """After kinematics were worked out."""
        axes = data.geom_xmat[self._handle].reshape(3, 3)
        w, _, _, z = data.mocap_quat[self._mocap]
        yaw = 2.0 * math.atan2(z, w)
        return DrawerState(
            handle_m=data.geom_xpos[self._handle].copy(),
            outward=np.array([math.cos(yaw), math.sin(yaw), 0.0]),
            along=axes[:, 2].copy(),
            opened_m=float(data.qpos[self._qpos_at]),
            speed_m_s=abs(float(data.qvel[self._qvel_at])),
            fingers_touching=self._contacts.count(data),
        )
