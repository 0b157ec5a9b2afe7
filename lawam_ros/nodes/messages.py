"""Every conversion between the package's records and ROS messages; those from messages are in ``contract/wire.py``.

Scalars are wrapped in ``float()``, ``int()``, ``str()``: the generated classes send anything else as garbage unless their checks are on.
"""

import array
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lawam_ros.contract.records import ActionChunk, JointCommand, Pose
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.wire import RESERVED
from lawam_ros.contract.wire import BadMessage as BadMessage
from lawam_ros.contract.wire import chunk_from_message as chunk_from_message
from lawam_ros.contract.wire import command_from_message as command_from_message
from lawam_ros.contract.wire import command_names as command_names
from lawam_ros.contract.wire import features_from_message as features_from_message
from lawam_ros.contract.wire import joint_positions as joint_positions
from lawam_ros.contract.wire import nanoseconds as nanoseconds
from lawam_ros.contract.wire import pose_from_message as pose_from_message
from lawam_ros.contract.wire import values_by_key as values_by_key

Array = NDArray[np.float64]


def message_class(type_name: str) -> Any:
    """Class of a type such as ``sensor_msgs/msg/Image``."""
    package, _, name = type_name.split("/")
    return getattr(import_module(f"{package}.msg"), name)


def stamp(nanoseconds: int) -> Time:
    return Time(sec=int(nanoseconds // 1_000_000_000), nanosec=int(nanoseconds % 1_000_000_000))


def duration(seconds: float) -> Duration:
    total = round(seconds * 1e9)
    return Duration(sec=int(total // 1_000_000_000), nanosec=int(total % 1_000_000_000))


def header(stamp_ns: int, frame_id: str = "") -> Header:
    return Header(stamp=stamp(stamp_ns), frame_id=str(frame_id))


def chunk_to_message(chunk: ActionChunk) -> JointTrajectory:
    """JointTrajectory with the reserved components behind the chunk's own."""
    reserved = [float(n) for n in (chunk.sequence, chunk.epoch, chunk.committed_steps, chunk.contract_crc)]
    points = [
        JointTrajectoryPoint(positions=array.array("d", [*row.tolist(), *reserved]), time_from_start=duration(float(t)))
        for row, t in zip(chunk.values, chunk.time_from_start_s, strict=True)
    ]
    return JointTrajectory(header=header(chunk.stamp_ns, chunk.frame_id), joint_names=[*chunk.components, *RESERVED], points=points)


def command_to_message(command: JointCommand, robot: Robot, stamp_ns: int, names: list[str]) -> JointTrajectory:
    """One stamped point with grippers included; ``names`` is ``command_names(robot)``, kept by the caller to save building it per tick."""
    openings = [float(command.gripper_m[arm.name]) for arm in robot.arms]
    zeros = [0.0] * len(openings)
    point = JointTrajectoryPoint(
        positions=array.array("d", command.positions_rad.tolist() + openings),
        velocities=array.array("d", command.velocities_rad_s.tolist() + zeros),
        accelerations=array.array("d", command.accelerations_rad_s2.tolist() + zeros),
    )
    return JointTrajectory(header=header(stamp_ns, robot.base_frame), joint_names=names, points=[point])


def pose_to_message(pose: Pose, stamp_ns: int, frame_id: str) -> PoseStamped:
    message = PoseStamped(header=header(stamp_ns, frame_id))
    x, y, z = (float(v) for v in pose.position_m)
    message.pose.position.x, message.pose.position.y, message.pose.position.z = x, y, z
    qx, qy, qz, qw = (float(v) for v in pose.quat_xyzw)
    message.pose.orientation.x, message.pose.orientation.y, message.pose.orientation.z, message.pose.orientation.w = qx, qy, qz, qw
    return message


def joint_state_to_message(stamp_ns: int, positions: Mapping[str, float], velocities: Mapping[str, float]) -> JointState:
    names = list(positions)
    return JointState(
        header=header(stamp_ns),
        name=names,
        position=array.array("d", [float(positions[n]) for n in names]),
        velocity=array.array("d", [float(velocities[n]) for n in names]),
    )


def camera_info(header: Header, height: int, width: int, focal_px: float) -> CameraInfo:
    """Calibration of an ideal pinhole camera whose axis meets the middle of its images."""
    cx, cy, f = width / 2.0, height / 2.0, float(focal_px)
    return CameraInfo(
        header=header,
        height=int(height),
        width=int(width),
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def features_to_message(features: NDArray[np.float32], stamp_ns: int, frame_id: str) -> Image:
    """32FC1 image with a row per token and a column per feature."""
    rows, columns = features.shape
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(features, dtype="<f4").tobytes())
    return Image(
        header=header(stamp_ns, frame_id),
        height=int(rows),
        width=int(columns),
        encoding="32FC1",
        is_bigendian=0,
        step=int(columns * 4),
        data=data,
    )


def key_values(values: Mapping[str, object]) -> list[KeyValue]:
    return [KeyValue(key=str(key), value=_text(value)) for key, value in values.items()]


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def diagnostics(stamp_ns: int, name: str, problem: str, values: Mapping[str, object], warning: str = "") -> DiagnosticArray:
    """One entry: ERROR with a problem, WARN with only a warning, else OK; ``level`` is an octet and wants bytes."""
    status = DiagnosticStatus(
        level=DiagnosticStatus.ERROR if problem else DiagnosticStatus.WARN if warning else DiagnosticStatus.OK,
        name=str(name),
        message="; ".join(text for text in (problem, warning) if text) or "ok",
        hardware_id="lawam_ros",
        values=key_values(values),
    )
    return DiagnosticArray(header=header(stamp_ns), status=[status])
