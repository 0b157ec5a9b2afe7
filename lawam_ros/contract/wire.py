"""Records out of messages, without ROS: whatever has the fields of the message type will do, rclpy's classes and those of a bag alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import ActionChunk, JointCommand, Pose
from lawam_ros.contract.robot import Robot

Array = NDArray[np.float64]

RESERVED = ("chunk/sequence", "chunk/epoch", "chunk/committed_steps", "chunk/contract")
_MAX_EXACT_INTEGER = 2**53


class BadMessage(ValueError):
    """A message that cannot be what it should be; ``str(error)`` is the reason that goes into status and counters."""


def nanoseconds(time: Any) -> int:
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def chunk_from_message(message: Any) -> ActionChunk:
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


def command_names(robot: Robot) -> list[str]:
    """Joint names in robot order, then ``<arm>/gripper`` per arm."""
    return [*robot.joint_names, *(f"{arm.name}/gripper" for arm in robot.arms)]


def command_from_message(message: Any, robot: Robot) -> JointCommand:
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


def pose_from_message(message: Any) -> Pose:
    p, q = message.pose.position, message.pose.orientation
    return Pose(position_m=np.array([p.x, p.y, p.z]), quat_xyzw=np.array([q.x, q.y, q.z, q.w]))


def joint_positions(message: Any) -> dict[str, float]:
    """Positions by name. Raises BadMessage for a repeated name or vectors that do not fit the names."""
    names = list(message.name)
    if len(set(names)) != len(names):
        raise BadMessage("joint name repeated")
    if len(message.position) != len(names):
        raise BadMessage("joint positions do not fit the names")
    return dict(zip(names, map(float, message.position), strict=True))


def features_from_message(message: Any) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Features (tokens, F) of a 32FC1 image and their square grid (rows, columns). Raises BadMessage for any other image."""
    data = memoryview(message.data).cast("B")
    size = f"{message.height}x{message.width}"
    if message.encoding != "32FC1" or message.is_bigendian or not 0 < len(data) == 4 * message.height * message.width:
        raise BadMessage(f"expected a 32FC1 image of {size}, got {message.encoding} with {len(data)} bytes")
    side = round(message.height**0.5)
    if side * side != message.height:
        raise BadMessage(f"expected a square grid of tokens, got {message.height}")
    return np.frombuffer(data, "<f4").reshape(message.height, message.width), (side, side)


def values_by_key(status: Any) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


@dataclass(frozen=True)
class ExecutorStatus:
    """What ``lawam/status`` tells: times are ROS nanoseconds, 0 where unset; ``stamp_ns`` is the tick that wrote it."""

    stamp_ns: int
    state: str
    reason: str
    hold_since_ns: int
    epoch: int
    epoch_stamp_ns: int
    instruction: str
    initialised_from: str
    accepted_sequence: int
    judged_stamp_ns: int
    rejected: int
    rejected_reason: str

    @property
    def wants_chunks(self) -> bool:
        return self.state in ("RUN", "HOLD")


def status_from_message(message: Any) -> ExecutorStatus:
    """What the executor said. Raises BadMessage for a message of somebody else."""
    try:
        return _status_from_values(message, values_by_key(message.status[0]))
    except (IndexError, KeyError, ValueError) as error:
        raise BadMessage(f"expected the executor's status, got a message where {error!r}") from error


def _status_from_values(message: Any, values: dict[str, str]) -> ExecutorStatus:
    return ExecutorStatus(
        stamp_ns=nanoseconds(message.header.stamp),
        hold_since_ns=int(values["hold_since"]),
        epoch_stamp_ns=int(values["epoch_stamp"]),
        judged_stamp_ns=int(values["judged_stamp"]),
        epoch=int(values["epoch"]),
        accepted_sequence=int(values["accepted_sequence"]),
        rejected=int(values["rejected"]),
        **{key: values[key] for key in ("state", "reason", "instruction", "initialised_from", "rejected_reason")},
    )
