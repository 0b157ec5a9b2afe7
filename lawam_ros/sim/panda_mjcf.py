"""The Franka Panda as MuJoCo text, drawn from primitives on the published joint origins, limits and efforts; no third-party meshes.

Bodies are named as the URDF links, joints as the URDF joints. Masses are plausible, not identified; gravity is compensated on every arm
body because the real controllers do that too.
"""

from dataclasses import dataclass

from lawam_ros.contract.robot import Robot
from lawam_ros.sim.robot_model import ArmParts, RobotModel, TableTop

HAND_TO_TCP_M = 0.1034
FINGER_TRAVEL_M = 0.04
SERVO_TIME_CONSTANT_S = 0.1
"""Damping gain over position gain of the arm servos: the lag a servo would have without velocity feed-forward."""


@dataclass(frozen=True)
class ArmJoint:
    """One revolute joint: origin in the parent link (m, rotation about x in rad), range (rad), servo gain (N m/rad), effort limit (N m)."""

    name: str
    position_m: tuple[float, float, float]
    roll_rad: float
    lower_rad: float
    upper_rad: float
    gain: float
    effort: float


_HALF_PI = 1.5707963267948966

ARM_JOINTS = (
    ArmJoint("panda_joint1", (0.0, 0.0, 0.333), 0.0, -2.8973, 2.8973, 4500.0, 87.0),
    ArmJoint("panda_joint2", (0.0, 0.0, 0.0), -_HALF_PI, -1.7628, 1.7628, 4500.0, 87.0),
    ArmJoint("panda_joint3", (0.0, -0.316, 0.0), _HALF_PI, -2.8973, 2.8973, 3500.0, 87.0),
    ArmJoint("panda_joint4", (0.0825, 0.0, 0.0), _HALF_PI, -3.0718, -0.0698, 3500.0, 87.0),
    ArmJoint("panda_joint5", (-0.0825, 0.384, 0.0), -_HALF_PI, -2.8973, 2.8973, 2000.0, 12.0),
    ArmJoint("panda_joint6", (0.0, 0.0, 0.0), _HALF_PI, -0.0175, 3.7525, 2000.0, 12.0),
    ArmJoint("panda_joint7", (0.088, 0.0, 0.0), _HALF_PI, -2.8973, 2.8973, 2000.0, 12.0),
)

FINGER_JOINTS = ("panda_finger_joint1", "panda_finger_joint2")
FINGER_BODIES = ("panda_leftfinger", "panda_rightfinger")
FINGER_PADS = tuple(f"{body}_pad" for body in FINGER_BODIES)
GRIPPER_ACTUATOR = "panda_gripper"

# Geometry of each link in its own frame; class "shell" is the white cover, "dark" the joint rings and the hand.
_LINK_GEOMS = (
    """
      <geom class="shell" type="capsule" fromto="0 0 -0.19 0 0 -0.03" size="0.062" mass="2.4"/>
      <geom class="dark" type="cylinder" fromto="0 0 -0.192 0 0 -0.178" size="0.0635" mass="0.1"/>
      <geom class="shell" type="cylinder" fromto="0 -0.062 0 0 0.062 0" size="0.061" mass="0.9"/>
      <geom class="dark" type="cylinder" fromto="0 -0.07 0 0 -0.062 0" size="0.05" mass="0.05"/>
      <geom class="dark" type="cylinder" fromto="0 0.062 0 0 0.07 0" size="0.05" mass="0.05"/>""",
    """
      <geom class="shell" type="capsule" fromto="0 -0.03 0 0 -0.19 0" size="0.058" mass="2.2"/>
      <geom class="dark" type="cylinder" fromto="0 -0.182 0 0 -0.194 0" size="0.061" mass="0.1"/>""",
    """
      <geom class="shell" type="capsule" fromto="0 0 -0.10 0 0 -0.05" size="0.059" mass="1.2"/>
      <geom class="shell" type="capsule" fromto="0 0 -0.05 0.0825 0 0" size="0.054" mass="1.2"/>
      <geom class="dark" type="cylinder" fromto="0.0825 -0.064 0 0.0825 0.064 0" size="0.048" mass="0.4"/>""",
    """
      <geom class="shell" type="cylinder" fromto="0 0 -0.055 0 0 0.055" size="0.055" mass="0.7"/>
      <geom class="shell" type="capsule" fromto="0 0.01 0 -0.0825 0.08 0" size="0.052" mass="1.1"/>
      <geom class="shell" type="capsule" fromto="-0.0825 0.08 0 -0.0825 0.11 0" size="0.055" mass="0.7"/>
      <geom class="dark" type="cylinder" fromto="-0.0825 0.126 0 -0.0825 0.138 0" size="0.057" mass="0.1"/>""",
    """
      <geom class="shell" type="capsule" fromto="0 0 -0.235 0 0.03 -0.16" size="0.052" mass="1.0"/>
      <geom class="shell" type="capsule" fromto="0 0.035 -0.16 0 0.05 -0.05" size="0.040" mass="0.7"/>
      <geom class="shell" type="capsule" fromto="0 0.04 -0.05 0 0 0" size="0.044" mass="0.6"/>
      <geom class="dark" type="cylinder" fromto="0 -0.056 0 0 0.056 0" size="0.042" mass="0.2"/>""",
    """
      <geom class="shell" type="cylinder" fromto="0 0 -0.045 0 0 0.045" size="0.046" mass="0.5"/>
      <geom class="shell" type="capsule" fromto="0.02 0 0 0.088 0 0" size="0.042" mass="0.6"/>
      <geom class="dark" type="cylinder" fromto="0.088 -0.056 0 0.088 0.048 0" size="0.0445" mass="0.2"/>""",
    """
      <geom class="shell" type="cylinder" fromto="0 0 0.045 0 0 0.092" size="0.043" mass="0.4"/>
      <geom class="dark" type="cylinder" fromto="0 0 0.092 0 0 0.108" size="0.040" mass="0.2"/>""",
)


def panda_model(robot: Robot) -> RobotModel:
    """The robot at its table, with the camera that looks at it from the other side."""
    return RobotModel(
        defaults=_defaults_xml(),
        assets=_ASSETS,
        bodies=_body_xml(),
        cameras="""
    <camera name="front" pos="1.05 0 0.62" xyaxes="0 1 0 -0.62 0 0.78" fovy="44"/>""",
        tendons=_tendons_xml(),
        couplings=_coupling_xml(),
        actuators=_actuators_xml(),
        arms=(
            ArmParts(
                servos=tuple(joint.name for joint in ARM_JOINTS),
                gripper_servo=GRIPPER_ACTUATOR,
                finger_pads=FINGER_PADS,
                hand="panda_hand",
                tcp_site="tcp",
            ),
        ),
        table=TableTop(x_m=(-0.25, 1.05), half_width_m=0.60, z_m=0.0),
    )


def _defaults_xml() -> str:
    """Default classes of the arm. Arm geoms collide with the scene (bit 2) but not with each other, primitives overlap at the joints."""
    return """
    <default class="panda">
      <joint damping="1" armature="0.1" limited="true"/>
      <geom contype="1" conaffinity="2" friction="0.8 0.05 0.001"/>
      <default class="shell"><geom rgba="0.93 0.93 0.94 1" material="shell"/></default>
      <default class="dark"><geom rgba="0.22 0.23 0.26 1" material="dark"/></default>
      <default class="finger">
        <joint type="slide" damping="10" armature="0.05" range="0 0.04"/>
        <geom material="dark" rgba="0.35 0.36 0.39 1"/>
      </default>
      <default class="pad">
        <geom type="box" friction="1.2 0.05 0.001" condim="4" priority="1" solimp="0.95 0.99 0.001" solref="0.004 1"
          rgba="0.12 0.12 0.13 1"/>
      </default>
    </default>"""


_ASSETS = """
    <material name="shell" specular="0.5" shininess="0.6"/>
    <material name="dark" specular="0.3" shininess="0.3"/>"""


def _body_xml() -> str:
    """Body tree of the arm with its base at the world's origin (frame ``panda_link0``)."""
    text = _hand_xml()
    for index in reversed(range(len(ARM_JOINTS))):
        joint = ARM_JOINTS[index]
        x, y, z = joint.position_m
        text = f"""
    <body name="panda_link{index + 1}" pos="{x} {y} {z}" euler="{joint.roll_rad} 0 0" gravcomp="1">
      <joint name="{joint.name}" axis="0 0 1" range="{joint.lower_rad} {joint.upper_rad}"/>{_LINK_GEOMS[index]}{text}
    </body>"""
    return f"""
    <body name="panda_link0" childclass="panda">
      <geom class="shell" type="box" pos="-0.045 0 0.035" size="0.095 0.075 0.035" mass="1.5"/>
      <geom class="shell" type="cylinder" fromto="0 0 0 0 0 0.137" size="0.072" mass="1.3"/>
      <geom class="dark" type="cylinder" fromto="0 0 0.137 0 0 0.142" size="0.066" mass="0.1"/>{text}
    </body>"""


def _hand_xml() -> str:
    return f"""
      <body name="panda_hand" pos="0 0 0.107" euler="0 0 -0.7853981633974483" gravcomp="1">
        <geom class="shell" type="box" pos="0 0 0.028" size="0.030 0.100 0.024" mass="0.5"/>
        <geom class="dark" type="box" pos="0 0 0.056" size="0.024 0.094 0.006" mass="0.1"/>
        <geom class="dark" type="cylinder" fromto="0 0 -0.002 0 0 0.006" size="0.042" mass="0.1"/>
        <geom class="dark" type="box" pos="0.060 0 -0.012" size="0.030 0.020 0.006" mass="0.05"/>
        <site name="tcp" pos="0 0 {HAND_TO_TCP_M}" size="0.004" rgba="0 0 0 0"/>
        <camera name="wrist" pos="0.085 0 0" xyaxes="0 1 0 0.98 0 0.20" fovy="75"/>
        {_finger_xml(0, 1)}{_finger_xml(1, -1)}
      </body>"""


def _finger_xml(finger: int, side: int) -> str:
    """A finger whose pad touches the hand's middle plane at joint position 0; joint frame as in the URDF (z 0.0584 above the hand)."""
    return f"""
        <body name="{FINGER_BODIES[finger]}" pos="0 0 0.0584" gravcomp="1">
          <joint name="{FINGER_JOINTS[finger]}" class="finger" axis="0 {side} 0"/>
          <geom class="finger" type="box" pos="0 {side * 0.0165} 0.014" size="0.010 0.0085 0.014" mass="0.02"/>
          <geom class="finger" type="box" pos="0 {side * 0.012} 0.040" size="0.009 0.006 0.013" mass="0.01"/>
          <geom name="{FINGER_PADS[finger]}" class="pad" pos="0 {side * 0.003} 0.0445" size="0.009 0.003 0.0090" mass="0.005"/>
        </body>"""


def _actuators_xml() -> str:
    """Position servos on the joints and one on the mean travel of both fingers (they are coupled, as in the real hand)."""
    servos = "".join(
        f"""
    <position name="{joint.name}" joint="{joint.name}" kp="{joint.gain}" kv="{joint.gain * SERVO_TIME_CONSTANT_S}"
      forcerange="-{joint.effort} {joint.effort}"/>"""
        for joint in ARM_JOINTS
    )
    return f"""{servos}
    <position name="{GRIPPER_ACTUATOR}" tendon="fingers" kp="1500" kv="60" ctrlrange="0 {FINGER_TRAVEL_M}" forcerange="-40 40"/>"""


def _tendons_xml() -> str:
    first, second = FINGER_JOINTS
    return f"""
    <fixed name="fingers"><joint joint="{first}" coef="0.5"/><joint joint="{second}" coef="0.5"/></fixed>"""


def _coupling_xml() -> str:
    first, second = FINGER_JOINTS
    return f"""
    <joint joint1="{first}" joint2="{second}" solimp="0.95 0.99 0.001" solref="0.005 1"/>"""
