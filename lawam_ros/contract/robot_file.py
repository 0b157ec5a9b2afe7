"""Robots from ``config/robots/<name>.yaml``: every key is read once, checked, and named where it is wrong."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.bridge import bridge_from_fields
from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.official import official_from_fields
from lawam_ros.contract.real import real_robot
from lawam_ros.contract.records import Pose
from lawam_ros.contract.robot import (
    FOLLOWERS,
    SECOND_PUBLISHER,
    UNIFORM_IMAGE,
    Arm,
    Budgets,
    Camera,
    CameraMount,
    Gripper,
    JointLimits,
    Proximity,
    Robot,
    Safety,
    VelocityEnvelope,
)
from lawam_ros.contract.rotations import quat_normalise
from lawam_ros.contract.yaml_fields import Fields

Array = NDArray[np.float64]

DEFAULT_FRACTION = 0.3
"""Of the vendor's velocities, accelerations and jerks, where a robot file does not say another."""

_SWITCH = ("off", "required")


def robot_from_mapping(mapping: dict[str, Any], where: str) -> Robot:
    """Validated robot of a YAML mapping. Raises UserMistake naming the key that is wrong."""
    fields = Fields(mapping, where)
    embodiment = fields.child("embodiment")
    topics = fields.child("topics")
    arm_names = [name for name, _ in fields.children("arms")]
    robot = Robot(
        name=fields.text("name"),
        description=fields.text("description"),
        embodiment_tag=embodiment.text("tag"),
        embodiment_id=embodiment.integer("id", 0, 31),
        urdf=fields.text("urdf"),
        base_frame=fields.text("base_frame"),
        tick_hz=fields.number("tick_hz", 20.0, 1000.0),
        arms=tuple(_arm(name, arm) for name, arm in fields.children("arms")),
        cameras=tuple(_camera(name, camera) for name, camera in fields.children("cameras")),
        budgets=_budgets(fields.child("budgets")),
        sim_command_topic=topics.text("sim_command"),
        joint_states_topic=topics.text("joint_states"),
        follower=fields.choice("follower", FOLLOWERS) if fields.has("follower") else FOLLOWERS[0],
        proximity=_proximity(fields.child("proximity"), arm_names) if fields.has("proximity") else None,
        safety=_safety(fields.child("safety")) if fields.has("safety") else Safety(),
        standing_joints=_standing(fields.child("standing_joints")) if fields.has("standing_joints") else {},
        official=official_from_fields(fields.child("official"), arm_names) if fields.has("official") else None,
        real=real_robot(fields.child("real"), len(arm_names)) if fields.has("real") else None,
        bridge=bridge_from_fields(fields.child("bridge"), arm_names) if fields.has("bridge") else None,
    )
    if not robot.sim_command_topic.startswith("sim_controller/"):
        raise UserMistake(
            f"{where}.topics.sim_command: expected a name under sim_controller/, which no real controller may listen to, "
            f"got {robot.sim_command_topic!r}"
        )
    if robot.real is not None and robot.bridge is not None:
        raise UserMistake(f"{where}: expected a section 'real' or 'bridge', got both; one arm obeys one driver")
    for part in (embodiment, topics, fields):
        part.done()
    return robot


def _arm(name: str, fields: Fields) -> Arm:
    joints = fields.texts("joints")
    n = len(joints)
    limits = fields.child("limits")
    fraction = limits.number("fraction", 0.01, 1.0) if limits.has("fraction") else DEFAULT_FRACTION
    margin = limits.number("position_margin_rad", 0.0, 0.5)
    lower, upper = limits.vector("lower_rad", n), limits.vector("upper_rad", n)
    gripper = fields.child("gripper")
    tcp_limits = fields.child("tcp_limits")
    workspace = fields.child("workspace")
    arm = Arm(
        name=name,
        base_frame=fields.text("base_frame"),
        tcp_frame=fields.text("tcp_frame"),
        joints=joints,
        home_rad=fields.vector("home_rad", n),
        limits=JointLimits(
            lower_rad=lower + margin,
            upper_rad=upper - margin,
            velocity_rad_s=fraction * limits.vector("velocity_rad_s", n),
            acceleration_rad_s2=fraction * limits.vector("acceleration_rad_s2", n),
            jerk_rad_s3=fraction * limits.vector("jerk_rad_s3", n),
            envelope=_envelope(limits.child("velocity_envelope"), n, fraction) if limits.has("velocity_envelope") else None,
        ),
        tcp_velocity_m_s=tcp_limits.number("velocity_m_s", 0.001, 5.0),
        tcp_angular_velocity_rad_s=tcp_limits.number("angular_velocity_rad_s", 0.001, 10.0),
        workspace_lower_m=workspace.vector("lower_m", 3),
        workspace_upper_m=workspace.vector("upper_m", 3),
        gripper=Gripper(
            joints=gripper.texts("joints"),
            opening_max_m=gripper.number("opening_max_m", 0.001, 1.0),
            velocity_m_s=gripper.number("velocity_m_s", 0.001, 5.0),
            opening_per_joint=gripper.number("opening_per_joint", 0.01, 10.0),
        ),
        limit_fraction=fraction,
        position_margin_rad=margin,
    )
    for key in ("velocity_rad_s", "acceleration_rad_s2", "jerk_rad_s3"):
        if np.any(getattr(arm.limits, key) <= 0.0):
            raise UserMistake(f"arm {name}: expected limits.{key} above 0 for every joint")
    if np.any(arm.limits.lower_rad >= arm.limits.upper_rad):
        raise UserMistake(f"arm {name}: expected lower_rad + margin below upper_rad - margin for every joint")
    if np.any(arm.home_rad < arm.limits.lower_rad) or np.any(arm.home_rad > arm.limits.upper_rad):
        raise UserMistake(f"arm {name}: home_rad {arm.home_rad.tolist()} is outside the position limits")
    if np.any(arm.workspace_lower_m >= arm.workspace_upper_m):
        raise UserMistake(f"arm {name}: expected workspace.lower_m below upper_m in every direction")
    for part in (limits, gripper, tcp_limits, workspace, fields):
        part.done()
    return arm


def _envelope(fields: Fields, n: int, fraction: float) -> VelocityEnvelope:
    names = ("lower_rad", "upper_rad", "offset_rad_s", "deceleration_rad_s2")
    envelope = VelocityEnvelope(**{name: fields.vector(name, n) for name in names}, share=np.full(n, fraction))
    if np.any(envelope.offset_rad_s < 0.0) or np.any(envelope.deceleration_rad_s2 <= 0.0):
        raise UserMistake("velocity_envelope: expected offset_rad_s not below 0 and deceleration_rad_s2 above 0 for every joint")
    fields.done()
    return envelope


def _camera(name: str, fields: Fields) -> Camera:
    camera = Camera(
        name=name,
        topic=fields.text("topic"),
        width=fields.integer("width", 32, 4096),
        height=fields.integer("height", 32, 4096),
        rate_hz=fields.number("rate_hz", 1.0, 240.0),
        rotate_deg=fields.integer("rotate_deg", 0, 270),
        latency_s=fields.number("latency_s", 0.0, 1.0),
        mount=_mount(fields.child("mount")) if fields.has("mount") else None,
    )
    if camera.rotate_deg % 90:
        raise UserMistake(f"camera {name}: expected rotate_deg 0, 90, 180 or 270, got {camera.rotate_deg}")
    fields.done()
    return camera


def _mount(fields: Fields) -> CameraMount:
    try:
        quat_xyzw = quat_normalise(fields.vector("quat_xyzw", 4))
    except ValueError as error:
        raise UserMistake(f"camera mount: {error}") from error
    mount = CameraMount(link=fields.text("link"), optical=Pose(position_m=fields.vector("position_m", 3), quat_xyzw=quat_xyzw))
    fields.done()
    return mount


def _proximity(fields: Fields, arms: list[str]) -> Proximity:
    spheres = {name: _spheres(entry) for name, entry in fields.children("spheres")}
    if not set(spheres) <= set(arms):
        raise UserMistake(f"proximity.spheres: expected arms out of {', '.join(arms)}, got {', '.join(spheres)}")
    table_z_m = fields.number("table_z_m", -5.0, 5.0) if fields.has("table_z_m") else None
    proximity = Proximity(spheres=spheres, table_z_m=table_z_m, clearance_m=fields.number("clearance_m", 0.0, 1.0))
    fields.done()
    return proximity


def _standing(fields: Fields) -> dict[str, float]:
    joints = {name: fields.number(name, -100.0, 100.0) for name in fields.names()}
    fields.done()
    return joints


def _safety(fields: Fields) -> Safety:
    """Every key may be left out."""
    absent = Safety()
    safety = Safety(
        deadman_required=_required(fields, "deadman"),
        estop_required=_required(fields, "estop"),
        max_age_s=fields.number("max_age_s", 0.02, 10.0) if fields.has("max_age_s") else absent.max_age_s,
        second_chunk_publisher=(
            fields.choice("second_chunk_publisher", SECOND_PUBLISHER)
            if fields.has("second_chunk_publisher")
            else absent.second_chunk_publisher
        ),
        uniform_image=fields.choice("uniform_image", UNIFORM_IMAGE) if fields.has("uniform_image") else absent.uniform_image,
    )
    fields.done()
    return safety


def _required(fields: Fields, switch: str) -> bool:
    """Whether the switch is asked for. YAML reads a bare ``off`` as false."""
    return fields.has(switch) and fields.raw(switch) is not False and fields.choice(switch, _SWITCH) == "required"


def _spheres(fields: Fields) -> Array:
    """One arm's named spheres, each [x, y, z, radius]."""
    spheres = np.array([fields.vector(name, 4) for name in fields.names()])
    if np.any(spheres[:, 3] <= 0.0):
        raise UserMistake("proximity.spheres: expected radii above 0")
    fields.done()
    return spheres


def _budgets(fields: Fields) -> Budgets:
    budgets = Budgets(**{name: fields.number(name, 0.001, 100.0) for name in Budgets.__dataclass_fields__})
    fields.done()
    return budgets
