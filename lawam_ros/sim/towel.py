"""A square towel to be folded: parameters, MuJoCo text, where it lies, how it is folded, and what holds it.

Cloth between two rigid fingers slips out in simulation, so pinching is assisted: a gripper that is told to close, is nearly closed and has
a vertex of the towel within 3 cm of its TCP holds the nearest vertex until it is told to open. A hand that misses gets nothing.

Frame: the robot's base. ``far`` edge: the one away from the robot at the start; it is folded onto the ``near`` one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.yaml_fields import Fields
from lawam_ros.sim.layout import Ground, draw_free
from lawam_ros.sim.mjcf_text import rgba
from lawam_ros.sim.robot_model import ArmParts

Array = NDArray[np.float64]

GRID = 9
THICKNESS_M = 0.006
"""Radius of the vertices: how high the cloth lies over the table."""

PINCH_REACH_M = 0.03
PINCH_OPENING_M = 0.012
_FOOTPRINT_CELL_M = 0.01
_FOOTPRINT_REACH_M = 0.026
_AT_REST_ABOVE_M = 0.001


@dataclass(frozen=True)
class TowelParameters:
    """Part of a task file's world section. The area bounds the towel's centre, x and y in m. success_...: see ``TowelMeasure``."""

    size_m: float
    mass_kg: float
    rgb: tuple[float, ...]
    area_lower_m: tuple[float, ...]
    area_upper_m: tuple[float, ...]
    yaw_rad: float
    success_corner_m: float
    success_area_ratio: float
    success_height_m: float


def towel_parameters(fields: Fields) -> TowelParameters:
    """Reads and checks its keys. Raises UserMistake naming the key."""
    return TowelParameters(
        size_m=fields.number("towel_size_m", 0.20, 0.40),
        mass_kg=fields.number("towel_mass_kg", 0.05, 0.5),
        rgb=tuple(fields.vector("towel_rgb", 3)),
        area_lower_m=tuple(fields.vector("towel_area_lower_m", 2)),
        area_upper_m=tuple(fields.vector("towel_area_upper_m", 2)),
        yaw_rad=fields.number("towel_yaw_rad", 0.0, 0.5),
        success_corner_m=fields.number("success_corner_m", 0.005, 0.2),
        success_area_ratio=fields.number("success_area_ratio", 0.5, 1.0),
        success_height_m=fields.number("success_height_m", 0.02, 0.5),
    )


@dataclass(frozen=True)
class Corners:
    """The corners that are moved and the ones they come to, left and right of the robot. Vertex numbers."""

    far_left: int = GRID * GRID - 1
    far_right: int = GRID * GRID - GRID
    near_left: int = GRID - 1
    near_right: int = 0


CORNERS = Corners()


@dataclass(frozen=True)
class TowelState:
    """vertices_m: (81, 3). held: arm -> the vertex it holds, None for none. area_ratio: footprint on the table over that at the start.
    edge_m: length of an edge."""

    vertices_m: Array
    held: Mapping[str, int | None]
    area_ratio: float
    edge_m: float
    table_z_m: float

    @property
    def corner_errors_m(self) -> tuple[float, float]:
        """Horizontal distance of each moved corner from its partner, left and right."""
        at, corners = self.vertices_m[:, :2], CORNERS
        pairs = ((corners.far_left, corners.near_left), (corners.far_right, corners.near_right))
        left, right = (float(np.linalg.norm(at[moved] - at[partner])) for moved, partner in pairs)
        return left, right

    @property
    def height_m(self) -> float:
        """Of the highest vertex over the table."""
        return float(self.vertices_m[:, 2].max()) - self.table_z_m


def towel_xml(parameters: TowelParameters, table_z_m: float) -> str:
    spacing = parameters.size_m / (GRID - 1)
    return f"""
    <flexcomp name="towel" type="grid" count="{GRID} {GRID} 1" spacing="{spacing} {spacing} {spacing}" dim="2" mass="{parameters.mass_kg}"
      radius="{THICKNESS_M}" pos="0 0 {table_z_m + THICKNESS_M}" rgba="{rgba(parameters.rgb)}" material="matt">
      <edge equality="true" solref="0.004 1" solimp="0.95 0.99 0.0001" damping="0.001"/>
      <contact condim="3" friction="1 0.005 0.0001" solref="0.01 1" selfcollide="auto" contype="1" conaffinity="1"/>
    </flexcomp>"""


def pinch_xml(arms: Mapping[str, ArmParts]) -> str:
    """One hold per hand, inactive; body1 is whatever vertex is held."""
    return "".join(
        f"""
    <connect name="pinch_{name}" body1="towel_0" body2="{parts.hand}" anchor="0 0 0" active="false"/>"""
        for name, parts in arms.items()
    )


class Towel:
    """The towel in a compiled model."""

    def __init__(self, model: mujoco.MjModel, parameters: TowelParameters, arms: Mapping[str, ArmParts], table_z_m: float) -> None:
        self._model, self._parameters, self._table_z_m = model, parameters, table_z_m
        self._bodies = np.array([model.body(f"towel_{i}").id for i in range(GRID * GRID)])
        joints = model.body_jntadr[self._bodies]
        self._qpos_at = model.jnt_qposadr[joints][:, None] + np.arange(3)
        self._home_m = model.body_pos[self._bodies].copy()
        self._rest_lengths = model.flexedge_length0.copy()
        self._pinches = {name: int(model.equality(f"pinch_{name}").id) for name in arms}
        self._hands = {name: int(model.body(parts.hand).id) for name, parts in arms.items()}
        self._sites = {name: int(model.site(parts.tcp_site).id) for name, parts in arms.items()}
        self._held: dict[str, int | None] = dict.fromkeys(arms)
        self._footprint_at_start, self._edge_m = 1, parameters.size_m

    def place(self, random: np.random.Generator, data: mujoco.MjData, taken: Sequence[Ground], scale: float = 1.0) -> list[Ground]:
        """Start of an episode, flat on the table; returns the ground it takes. scale: of its size."""
        parameters = self._parameters
        centre = draw_free(random, parameters.area_lower_m, parameters.area_upper_m, taken, 0.0, "towel")
        yaw = random.uniform(-parameters.yaw_rad, parameters.yaw_rad)
        cos, sin = np.cos(yaw), np.sin(yaw)
        flat = scale * self._home_m[:, :2] @ np.array([[cos, sin], [-sin, cos]]) + centre
        places = np.column_stack([flat, np.full(len(flat), self._table_z_m + THICKNESS_M + _AT_REST_ABOVE_M)])
        data.qpos[self._qpos_at] = places - self._home_m
        self._model.flexedge_length0[:] = scale * self._rest_lengths
        for name, equality in self._pinches.items():
            data.eq_active[equality], self._held[name] = 0, None
        self._footprint_at_start, self._edge_m = _footprint(places), scale * parameters.size_m
        return [Ground(centre, np.full(2, scale * parameters.size_m / 2), float(yaw))]

    def pinch(self, data: mujoco.MjData, wanted_openings_m: Mapping[str, float], openings_m: Mapping[str, float]) -> None:
        """Before a physics step: hands that close take hold, hands told to open let go."""
        for name, equality in self._pinches.items():
            closing = wanted_openings_m[name] < PINCH_OPENING_M
            if self._held[name] is not None and not closing:
                data.eq_active[equality], self._held[name] = 0, None
            elif self._held[name] is None and closing and openings_m[name] < PINCH_OPENING_M:
                self._take_hold(data, name)

    def _take_hold(self, data: mujoco.MjData, name: str) -> None:
        vertices, tcp = data.xpos[self._bodies], data.site_xpos[self._sites[name]]
        distances = np.linalg.norm(vertices - tcp, axis=1)
        nearest = int(np.argmin(distances))
        if distances[nearest] > PINCH_REACH_M:
            return
        equality, hand = self._pinches[name], self._hands[name]
        self._model.eq_obj1id[equality] = self._bodies[nearest]
        self._model.eq_data[equality, :3] = 0.0
        self._model.eq_data[equality, 3:6] = data.xmat[hand].reshape(3, 3).T @ (vertices[nearest] - data.xpos[hand])
        data.eq_active[equality], self._held[name] = 1, nearest

    def state(self, data: mujoco.MjData) -> TowelState:
        """After kinematics were worked out."""
        vertices = data.xpos[self._bodies].copy()
        ratio = _footprint(vertices) / self._footprint_at_start
        return TowelState(vertices, dict(self._held), ratio, self._edge_m, self._table_z_m)


def _footprint(vertices_m: Array) -> int:
    """Cells of a grid over the table with a vertex near enough; a perfect half fold leaves 53 to 57 % of them."""
    low = np.floor((vertices_m[:, :2].min(0) - _FOOTPRINT_REACH_M) / _FOOTPRINT_CELL_M)
    high = np.ceil((vertices_m[:, :2].max(0) + _FOOTPRINT_REACH_M) / _FOOTPRINT_CELL_M)
    x, y = (np.arange(low[i], high[i] + 1) * _FOOTPRINT_CELL_M for i in (0, 1))
    near_x, near_y = ((cells[:, None] - vertices_m[:, i]) ** 2 for i, cells in enumerate((x, y)))
    return int(((near_x[:, None] + near_y[None]).min(-1) <= _FOOTPRINT_REACH_M**2).sum())
