"""MuJoCo text of a table with the robot at it: everything that all worlds of the Franka share, and a place for what stands on it."""

from collections.abc import Sequence

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.sim.mjcf_text import rgba
from lawam_ros.sim.panda_mjcf import panda_actuators_xml, panda_assets_xml, panda_body_xml, panda_coupling_xml, panda_defaults_xml

PHYSICS_STEP_S = 0.002
_PLANKS = 12
_TABLE_X_M = (-0.25, 1.05)
_TABLE_HALF_WIDTH_M = 0.60
_PLANK_TONES = (0.98, 1.05, 0.93, 1.02, 0.96, 1.07, 0.90)


def table_scene_xml(contract: Contract, bodies: Sequence[str], contacts: Sequence[str]) -> str:
    """The whole model. Frame: world = base frame of the arm, table surface at z = 0. bodies, contacts: text of what is on the table."""
    if contract.robot.name != "franka_panda":
        raise UserMistake(f"the simulated table has the robot franka_panda, got {contract.robot.name}")
    width = max(camera.width for camera in contract.robot.cameras)
    height = max(camera.height for camera in contract.robot.cameras)
    return f"""
<mujoco model="{contract.task.name}">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{PHYSICS_STEP_S}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <visual>
    <quality offsamples="0" shadowsize="0"/>
    <global offwidth="{width}" offheight="{height}"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0.25 0.25 0.25" specular="0.1 0.1 0.1"/>
    <map znear="0.01" zfar="10"/>
  </visual>
  <default>{panda_defaults_xml()}
    <default class="scene"><geom contype="2" conaffinity="3"/></default>
    <default class="picture"><geom contype="0" conaffinity="0"/></default>
  </default>
  <asset>{panda_assets_xml()}
    <texture type="skybox" builtin="gradient" rgb1="0.80 0.85 0.90" rgb2="0.55 0.60 0.66" width="64" height="64"/>
    <material name="matt" specular="0.05" shininess="0.1"/>
  </asset>
  <worldbody>
    <light name="lamp" directional="true" pos="0.3 -0.6 2" dir="-0.15 0.45 -1" diffuse="0.55 0.55 0.53" specular="0.2 0.2 0.2"
      castshadow="false"/>
    <camera name="front" pos="1.05 0 0.62" xyaxes="0 1 0 -0.62 0 0.78" fovy="44"/>
    <geom name="floor" class="picture" type="plane" pos="0 0 -0.75" size="4 4 1" rgba="0.62 0.64 0.67 1" material="matt"/>
    <geom name="table" class="scene" type="box" pos="0.4 0 -0.03" size="0.65 {_TABLE_HALF_WIDTH_M} 0.03" rgba="0.55 0.40 0.26 1"
      friction="1 0.05 0.001" condim="4" material="matt"/>{_planks_xml()}{"".join(bodies)}{panda_body_xml()}
  </worldbody>{panda_coupling_xml()}
  <contact>{"".join(contacts)}
  </contact>
  <actuator>{panda_actuators_xml()}
  </actuator>
</mujoco>
"""


def _planks_xml() -> str:
    """Boards along x in slightly different browns on top of the table, for the eye only (0.2 mm high)."""
    width = 2 * _TABLE_HALF_WIDTH_M / _PLANKS
    centre_x, half_x = sum(_TABLE_X_M) / 2, (_TABLE_X_M[1] - _TABLE_X_M[0]) / 2
    boards = []
    for i in range(_PLANKS):
        tone = _PLANK_TONES[i % len(_PLANK_TONES)]
        y = -_TABLE_HALF_WIDTH_M + (i + 0.5) * width
        boards.append(
            f"""
    <geom name="plank_{i}" class="picture" type="box" pos="{centre_x} {y:.4f} 0" size="{half_x} {width / 2:.4f} 0.0002"
      rgba="{rgba((0.72 * tone, 0.56 * tone, 0.39 * tone))}" material="matt"/>"""
        )
    return "".join(boards)
