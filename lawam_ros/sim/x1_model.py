"""The Quanta X1 in simulation: drawn from its URDF, with servos, cameras and a table of our own."""

from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.robot import Arm, Robot
from lawam_ros.sim.robot_model import ArmParts, RobotModel, TableTop
from lawam_ros.sim.urdf_mjcf import UrdfDrawing, camera_xml

# Gains of the joints' servos from the base on: N m/rad, N m s/rad, largest N m. Stiffer than the real ones: commands are followed closely.
_SERVOS = ((800, 40, 60), (1200, 60, 80), (1200, 60, 60), (300, 12, 20), (200, 8, 20), (150, 5, 20))
_GRIPPER_SERVO = (20, 1, 6)
_VIEW_DEG = {"front": 52.0, "left_wrist": 80.0, "right_wrist": 80.0}  # vertical; assumed
_OTHER_VIEW_DEG = 60.0
_TABLE = ((0.32, 1.15), 0.70)


def x1_model(robot: Robot) -> RobotModel:
    """Arms collide with the scene (bit 2) and with each other, not with the towel: open fingers would drag it along."""
    drawing = UrdfDrawing((urdf_dir() / robot.urdf).read_text(encoding="utf-8"), robot.base_frame, robot.standing_joints)
    left, right = robot.arms
    sites = {
        arm.tcp_frame: f"""
      <site name="{arm.tcp_frame}" size="0.004" rgba="0 0 0 0"/>"""
        for arm in robot.arms
    }
    cameras = dict(camera_xml(camera, _VIEW_DEG.get(camera.name, _OTHER_VIEW_DEG)) for camera in robot.cameras)
    return RobotModel(
        defaults=_defaults_xml(left.name, right.name),
        assets="",
        bodies=drawing.bodies(
            {robot.base_frame: "x1"}
            | {arm.base_frame: f"x1_{arm.name}" for arm in robot.arms}
            | {f"{arm.name}_arm_link4": f"x1_{arm.name}_wrist" for arm in robot.arms},
            sites | cameras,
        ),
        cameras="",
        tendons="",
        couplings=drawing.couplings(),
        actuators="".join(_actuators_xml(arm) for arm in robot.arms),
        arms=tuple(_parts(arm) for arm in robot.arms),
        table=TableTop(*_TABLE, z_m=robot.proximity.table_z_m if robot.proximity and robot.proximity.table_z_m is not None else 0.0),
    )


def _defaults_xml(left: str, right: str) -> str:
    arms = "".join(
        f"""
      <default class="x1_{name}">
        <geom contype="{own}" conaffinity="{2 + other}"/>
        <default class="x1_{name}_wrist"><joint damping="0.5" armature="0.02"/></default>
      </default>"""
        for name, own, other in ((left, 4, 8), (right, 8, 4))
    )
    return f"""
    <default class="x1">
      <joint damping="2" armature="0.05" limited="true"/>
      <geom contype="0" conaffinity="2" material="matt"/>{arms}
    </default>"""


def _actuators_xml(arm: Arm) -> str:
    servos = zip((*arm.joints, *arm.gripper.joints), (*_SERVOS, _GRIPPER_SERVO), strict=True)
    return "".join(
        f"""
    <position name="{joint}" joint="{joint}" kp="{gain}" kv="{damping}" forcerange="-{force} {force}"/>"""
        for joint, (gain, damping, force) in servos
    )


def _parts(arm: Arm) -> ArmParts:
    (gripper,) = arm.gripper.joints
    pads = tuple(f"{arm.name}_arm_{finger}_finger_link_1" for finger in ("left", "right"))
    return ArmParts(servos=arm.joints, gripper_servo=gripper, finger_pads=pads, hand=f"{arm.name}_arm_link6", tcp_site=arm.tcp_frame)
