"""MuJoCo text of the pick-and-place scene: robot, table, cube, pad, light and cameras."""

from collections.abc import Sequence
from dataclasses import dataclass

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.yaml_fields import Fields
from lawam_ros.sim.panda_mjcf import panda_actuators_xml, panda_assets_xml, panda_body_xml, panda_coupling_xml, panda_defaults_xml

PHYSICS_STEP_S = 0.002
PAD_HALF_SIZE_M = 0.05
_PLANKS = 12
_TABLE_X_M = (-0.25, 1.05)
_TABLE_HALF_WIDTH_M = 0.60
_PLANK_TONES = (0.98, 1.05, 0.93, 1.02, 0.96, 1.07, 0.90)


@dataclass(frozen=True)
class PickPlaceParameters:
    """World parameters of the task file. Areas bound cube and pad centres in the arm's base frame, x and y in m."""

    cube_size_m: float
    cube_mass_kg: float
    cube_rgb: tuple[float, ...]
    pad_rgb: tuple[float, ...]
    area_lower_m: tuple[float, ...]
    area_upper_m: tuple[float, ...]
    min_distance_m: float
    cube_yaw_rad: float
    start_joint_noise_rad: float
    success_radius_m: float


def pick_place_parameters(contract: Contract) -> PickPlaceParameters:
    """Validated world section of the task. Raises UserMistake naming the key."""
    fields = Fields(contract.task.world, f"task {contract.task.name}.world")
    fields.choice("name", ("pick_place",))
    parameters = PickPlaceParameters(
        cube_size_m=fields.number("cube_size_m", 0.01, 0.07),
        cube_mass_kg=fields.number("cube_mass_kg", 0.001, 2.0),
        cube_rgb=tuple(fields.vector("cube_rgb", 3)),
        pad_rgb=tuple(fields.vector("pad_rgb", 3)),
        area_lower_m=tuple(fields.vector("area_lower_m", 2)),
        area_upper_m=tuple(fields.vector("area_upper_m", 2)),
        min_distance_m=fields.number("min_distance_m", 0.0, 1.0),
        cube_yaw_rad=fields.number("cube_yaw_rad", 0.0, 0.7853981633974483),
        start_joint_noise_rad=fields.number("start_joint_noise_rad", 0.0, 0.3),
        success_radius_m=fields.number("success_radius_m", 0.001, 0.5),
    )
    fields.done()
    width = [upper - lower for lower, upper in zip(parameters.area_lower_m, parameters.area_upper_m, strict=True)]
    if min(width) < 0.0 or max(width) < parameters.min_distance_m:
        raise UserMistake(
            f"task {contract.task.name}.world: expected area_lower_m below area_upper_m and min_distance_m to fit into the area, "
            f"got an area of {width[0]:g} x {width[1]:g} m and min_distance_m {parameters.min_distance_m:g}"
        )
    return parameters


def pick_place_scene_xml(contract: Contract, parameters: PickPlaceParameters) -> str:
    """The whole model. Frame: world = base frame of the arm, table surface at z = 0."""
    if contract.robot.name != "franka_panda":
        raise UserMistake(f"the simulated world pick_place has the robot franka_panda, got {contract.robot.name}")
    half = parameters.cube_size_m / 2
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
    <light directional="true" pos="0.3 -0.6 2" dir="-0.15 0.45 -1" diffuse="0.55 0.55 0.53" specular="0.2 0.2 0.2" castshadow="false"/>
    <camera name="front" pos="1.05 0 0.62" xyaxes="0 1 0 -0.62 0 0.78" fovy="44"/>
    <geom name="floor" class="picture" type="plane" pos="0 0 -0.75" size="4 4 1" rgba="0.62 0.64 0.67 1" material="matt"/>
    <geom name="table" class="scene" type="box" pos="0.4 0 -0.03" size="0.65 {_TABLE_HALF_WIDTH_M} 0.03" rgba="0.55 0.40 0.26 1"
      friction="1 0.05 0.001" condim="4" material="matt"/>{_planks_xml()}
    <body name="pad" mocap="true" pos="0.5 0.15 0">
      <geom class="picture" type="box" size="{PAD_HALF_SIZE_M} {PAD_HALF_SIZE_M} 0.0015" rgba="{_rgb(parameters.pad_rgb)} 1"
        material="matt"/>
    </body>
    <body name="cube" pos="0.5 0 {half}">
      <freejoint name="cube"/>
      <geom name="cube" class="scene" type="box" size="{half} {half} {half}" mass="{parameters.cube_mass_kg}"
        friction="1 0.05 0.001" condim="4" rgba="{_rgb(parameters.cube_rgb)} 1" material="matt"/>
    </body>{panda_body_xml()}
  </worldbody>{panda_coupling_xml()}
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
        rgb = _rgb((0.72 * tone, 0.56 * tone, 0.39 * tone))
        y = -_TABLE_HALF_WIDTH_M + (i + 0.5) * width
        boards.append(
            f"""
    <geom class="picture" type="box" pos="{centre_x} {y:.4f} 0" size="{half_x} {width / 2:.4f} 0.0002" rgba="{rgb} 1" material="matt"/>"""
        )
    return "".join(boards)


def _rgb(values: Sequence[float]) -> str:
    return " ".join(f"{float(value):.4g}" for value in values)
