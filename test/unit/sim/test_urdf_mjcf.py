"""Robots drawn from their URDF."""

from dataclasses import replace

import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

import mujoco  # noqa: E402  (the renderer is chosen before mujoco is imported)

from lawam_ros.sim.urdf_mjcf import UrdfDrawing, camera_xml  # noqa: E402

URDF = """
<robot name="r">
  <material name="red"><color rgba="1 0 0 1"/></material>
  <link name="floor"/><link name="base"/>
  <link name="arm">
    <inertial><origin xyz="0.1 0 0"/><mass value="0.5"/><inertia ixx="0.01" ixy="0" ixz="0" iyy="0.02" iyz="0" izz="0.02"/></inertial>
    <visual><origin xyz="0.1 0 0"/><geometry><box size="0.2 0.04 0.06"/></geometry><material name="red"/></visual>
  </link>
  <link name="finger"><inertial><mass value="0.1"/><inertia ixx="0.001" ixy="0" ixz="0" iyy="0.001" iyz="0" izz="0.001"/></inertial></link>
  <joint name="column" type="prismatic"><parent link="floor"/><child link="base"/><origin xyz="0 0 1"/><axis xyz="0 0 1"/></joint>
  <joint name="turn" type="revolute">
    <parent link="base"/><child link="arm"/><origin xyz="0 0.3 0" rpy="0 0 1.5707963267948966"/><axis xyz="0 0 1"/>
    <limit lower="-1" upper="2" velocity="1" effort="1"/>
  </joint>
  <joint name="slide" type="prismatic">
    <parent link="arm"/><child link="finger"/><origin xyz="0.2 0 0"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="0.1" velocity="1" effort="1"/><mimic joint="turn" multiplier="0.05" offset="0.01"/>
  </joint>
</robot>"""


def compiled(drawing: UrdfDrawing) -> mujoco.MjModel:
    text = f"""<mujoco><compiler angle="radian"/><default><default class="arm"><geom contype="4"/></default></default>
      <worldbody>{drawing.bodies({"arm": "arm"}, {})}</worldbody><equality>{drawing.couplings()}</equality></mujoco>"""
    return mujoco.MjModel.from_xml_string(text)


def test_links_joints_masses_and_couplings_are_those_of_the_urdf() -> None:
    model = compiled(UrdfDrawing(URDF, "base", {}))
    data = mujoco.MjData(model)
    assert [model.joint(i).name for i in range(model.njnt)] == ["turn", "slide"], "what lies below the base is left out"
    assert model.joint("turn").range.tolist() == [-1.0, 2.0] and model.body("arm").mass[0] == 0.5
    assert model.geom("arm_0").size.tolist() == [0.1, 0.02, 0.03] and model.geom("arm_0").contype[0] == 4
    assert model.eq_data[0, :2].tolist() == [0.01, 0.05]
    mujoco.mj_forward(model, data)
    assert data.body("finger").xpos == pytest.approx([0.0, 0.5, 0.0])


def test_joints_that_stand_still_are_welded_where_they_stand() -> None:
    model = compiled(
        UrdfDrawing(URDF.replace('<mimic joint="turn" multiplier="0.05" offset="0.01"/>', ""), "base", {"turn": -1.5707963267948966})
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    assert model.njnt == 1 and data.body("finger").xpos == pytest.approx([0.2, 0.3, 0.0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('<box size="0.2 0.04 0.06"/>', '<mesh filename="arm.stl"/>'), "arm_0: expected a box or a cylinder, got mesh"),
        (('<material name="red"/></visual>', '<material name="blue"/></visual>'), "a named <material> with a colour"),
        (('<limit lower="-1" upper="2" velocity="1" effort="1"/>', ""), "joint 'turn' has no <limit>"),
        (('<mass value="0.5"/>', ""), "link 'arm': expected <mass> and <inertia>"),
    ],
)
def test_what_cannot_be_drawn_is_named(change: tuple[str, str], said: str) -> None:
    assert change[0] in URDF
    with pytest.raises(UserMistake, match=said):
        UrdfDrawing(URDF.replace(*change), "base", {}).bodies({}, {})
    with pytest.raises(UserMistake, match="expected a link 'trunk'"):
        UrdfDrawing(URDF, "trunk", {})


def test_a_camera_without_a_mount_is_named() -> None:
    camera = load_contract("x1_towel_fold").robot.camera("front")
    assert camera_xml(camera, 52.0)[0] == "head_camera"
    with pytest.raises(UserMistake, match="camera front: expected a mount"):
        camera_xml(replace(camera, mount=None), 52.0)
