"""Every conversion between the package's records and ROS messages.

Scalars are wrapped in ``float()``, ``int()``, ``str()``: the generated classes send anything else as garbage unless their checks are on.
"""

import array
from collections.abc import Mapping

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

Array = NDArray[np.float64]

RESERVED = ("chunk/sequence", "chunk/epoch", "chunk/committed_steps", "chunk/contract")
_MAX_EXACT_INTEGER = 2**53


class BadMessage(ValueError):
    """A message that cannot be what it should be; ``str(error)`` is the reason that goes into status and counters."""


def stamp(nanoseconds: int) -> Time:
    return Time(sec=int(nanoseconds // 1_000_000_000), nanosec=int(nanoseconds % 1_000_000_000))


def nanoseconds(time: Time | Duration) -> int:
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


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


def chunk_from_message(message: JointTrajectory) -> ActionChunk:
    """Chunk of a message. Raises BadMessage where rows and names do not fit or a reserved component is missing, varying or no integer."""
    names = list(message.joint_names)
    if not 1 <= len(message.points) <= 512:
        raise BadMessage("points")
    if any(names.count(name) != 1 for name in RESERVED):
        raise BadMessage("components")
    if any(len(point.positions) != len(names) for point in message.points):
        raise BadMessage("components")
    rows = np.array([point.positions for point in message.points], dtype=float)
    own = [i for i, name in enumerate(names) if name not in RESERVED]
    sequence, epoch, committed, crc = (_constant_integer(rows[:, names.index(name)]) for name in RESERVED)
    return ActionChunk(
        stamp_ns=nanoseconds(message.header.stamp),
        frame_id=str(message.header.frame_id),
        components=tuple(names[i] for i in own),
        values=rows[:, own],
        time_from_start_s=np.array([nanoseconds(point.time_from_start) * 1e-9 for point in message.points]),
        sequence=sequence,
        epoch=epoch,
        committed_steps=committed,
        contract_crc=crc,
    )


def _constant_integer(column: Array) -> int:
    first = float(column[0])
    if not np.all(column == first) or not 0 <= first < _MAX_EXACT_INTEGER or first != int(first):
        raise BadMessage("reserved_components")
    return int(first)


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


def command_names(robot: Robot) -> list[str]:
    """Joint names in robot order, then ``<arm>/gripper`` per arm."""
    return [*robot.joint_names, *(f"{arm.name}/gripper" for arm in robot.arms)]


def command_from_message(message: JointTrajectory, robot: Robot) -> JointCommand:
    """Set-point of a ``lawam/reference`` or ``sim_controller/joint_trajectory`` message. Raises BadMessage when something is missing."""
    names = list(message.joint_names)
    if len(message.points) != 1 or any(name not in names for name in command_names(robot)):
        raise BadMessage("components")
    point = message.points[0]
    if not len(point.positions) == len(point.velocities) == len(point.accelerations) == len(names):
        raise BadMessage("components")
    order = [names.index(joint) for joint in robot.joint_names]
    return JointCommand(
        stamp_ns=nanoseconds(message.header.stamp),
        positions_rad=np.array(point.positions)[order],
        velocities_rad_s=np.array(point.velocities)[order],
        accelerations_rad_s2=np.array(point.accelerations)[order],
        gripper_m={arm.name: float(point.positions[names.index(f"{arm.name}/gripper")]) for arm in robot.arms},
    )


def pose_to_message(pose: Pose, stamp_ns: int, frame_id: str) -> PoseStamped:
    message = PoseStamped(header=header(stamp_ns, frame_id))
    x, y, z = (float(v) for v in pose.position_m)
    message.pose.position.x, message.pose.position.y, message.pose.position.z = x, y, z
    qx, qy, qz, qw = (float(v) for v in pose.quat_xyzw)
    message.pose.orientation.x, message.pose.orientation.y, message.pose.orientation.z, message.pose.orientation.w = qx, qy, qz, qw
    return message


def pose_from_message(message: PoseStamped) -> Pose:
    p, q = message.pose.position, message.pose.orientation
    return Pose(position_m=np.array([p.x, p.y, p.z]), quat_xyzw=np.array([q.x, q.y, q.z, q.w]))


def joint_state_to_message(stamp_ns: int, positions: Mapping[str, float], velocities: Mapping[str, float]) -> JointState:
    names = list(positions)
    return JointState(
        header=header(stamp_ns),
        name=names,
        position=array.array("d", [float(positions[n]) for n in names]),
        velocity=array.array("d", [float(velocities[n]) for n in names]),
    )


def joint_positions(message: JointState) -> dict[str, float]:
    """Positions by name. Raises BadMessage for a repeated name or vectors that do not fit the names."""
    names = list(message.name)
    if len(set(names)) != len(names):
        raise BadMessage("joint name repeated")
    if len(message.position) != len(names):
        raise BadMessage("joint positions do not fit the names")
    return dict(zip(names, map(float, message.position), strict=True))


def camera_info(image: Image, focal_px: float) -> CameraInfo:
    """Calibration of an ideal pinhole camera whose axis meets the middle of ``image``."""
    cx, cy, f = image.width / 2.0, image.height / 2.0, float(focal_px)
    return CameraInfo(
        header=image.header,
        height=image.height,
        width=image.width,
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


def values_by_key(status: DiagnosticStatus) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


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
