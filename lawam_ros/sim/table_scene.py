"""MuJoCo text of a table with the robot at it: everything that all worlds share, and a place for what stands on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from lawam_ros.contract.load import Contract
from lawam_ros.sim.mjcf_text import rgba
from lawam_ros.sim.robot_model import RobotModel, TableTop

_PLANKS = 12
_PLANK_TONES = (0.98, 1.05, 0.93, 1.02, 0.96, 1.07, 0.90)
_FLOOR_BELOW_TABLE_M = 0.75


@dataclass(frozen=True)
class Physics:
    """How time goes on: step_s, and the rest of MuJoCo's options as text."""

    step_s: float
    options: str


RIGID = Physics(0.002, 'integrator="implicitfast" cone="elliptic" impratio="10"')
CLOTH = Physics(0.005, 'integrator="implicitfast" solver="CG" iterations="50" tolerance="1e-6"')


@dataclass(frozen=True)
class Furniture:
    """Text of what is on the table: bodies, pairs of bodies without contact, equalities."""

    bodies: str = ""
    contacts: str = ""
    equalities: str = ""


def table_scene_xml(contract: Contract, robot: RobotModel, physics: Physics, furniture: Sequence[Furniture]) -> str:
    """The whole model. Frame: world = base frame of the robot."""
    height, width = (max(sides) for sides in zip(*(camera.mounted_hw for camera in contract.robot.cameras), strict=True))
    table = robot.table
    x_m, half_x_m = sum(table.x_m) / 2, (table.x_m[1] - table.x_m[0]) / 2
    return f"""
<mujoco model="{contract.task.name}">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{physics.step_s}" {physics.options}/>
  <visual>
    <quality offsamples="0" shadowsize="0"/>
    <global offwidth="{width}" offheight="{height}"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0.25 0.25 0.25" specular="0.1 0.1 0.1"/>
    <map znear="0.01" zfar="10"/>
  </visual>
  <default>{robot.defaults}
    <default class="scene"><geom contype="2" conaffinity="3"/></default>
    <default class="picture"><geom contype="0" conaffinity="0"/></default>
  </default>
  <asset>{robot.assets}
    <texture type="skybox" builtin="gradient" rgb1="0.80 0.85 0.90" rgb2="0.55 0.60 0.66" width="64" height="64"/>
    <material name="matt" specular="0.05" shininess="0.1"/>
  </asset>
  <worldbody>
    <light name="lamp" directional="true" pos="0.3 -0.6 2" dir="-0.15 0.45 -1" diffuse="0.55 0.55 0.53" specular="0.2 0.2 0.2"
      castshadow="false"/>{robot.cameras}
    <geom name="floor" class="picture" type="plane" pos="0 0 {table.z_m - _FLOOR_BELOW_TABLE_M}" size="4 4 1" rgba="0.62 0.64 0.67 1"
      material="matt"/>
    <geom name="table" class="scene" type="box" pos="{x_m:.9g} 0 {table.z_m - 0.03}" size="{half_x_m:.9g} {table.half_width_m} 0.03"
      rgba="0.55 0.40 0.26 1" friction="1 0.05 0.001" condim="4" material="matt"/>{_planks_xml(table)}
    {_all(furniture, "bodies")}{robot.bodies}
  </worldbody>
  <tendon>{robot.tendons}
  </tendon>
  <equality>{robot.couplings}{_all(furniture, "equalities")}
  </equality>
  <contact>{_all(furniture, "contacts")}
  </contact>
  <actuator>{robot.actuators}
  </actuator>
</mujoco>
"""


def _all(furniture: Sequence[Furniture], section: str) -> str:
    return "".join(getattr(piece, section) for piece in furniture)


def _planks_xml(table: TableTop) -> str:
    """Boards along x in slightly different browns on top of the table, for the eye only (0.2 mm high)."""
    width = 2 * table.half_width_m / _PLANKS
    centre_x, half_x = sum(table.x_m) / 2, (table.x_m[1] - table.x_m[0]) / 2
    boards = []
    for i in range(_PLANKS):
        tone = _PLANK_TONES[i % len(_PLANK_TONES)]
        y = -table.half_width_m + (i + 0.5) * width
        boards.append(
            f"""
    <geom name="plank_{i}" class="picture" type="box" pos="{centre_x:.9g} {y:.4f} {table.z_m}" size="{half_x:.9g} {width / 2:.4f} 0.0002"
      rgba="{rgba((0.72 * tone, 0.56 * tone, 0.39 * tone))}" material="matt"/>"""
        )
    return "".join(boards)
