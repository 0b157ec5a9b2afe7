"""Records to messages and back without loss, and every message that cannot be what it should be."""

import array
import math
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="ROS 2 messages are not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import ActionChunk, JointCommand, Pose
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.nodes import messages
from lawam_ros.nodes.messages import RESERVED, BadMessage

CONTRACT = load_contract("franka_pick_place")
ROBOT = CONTRACT.robot
COMPONENTS = tuple(f"arm/{component}" for component in CARTESIAN_COMPONENTS)


def over_the_wire(message: Any) -> Any:
    """The message as a subscriber gets it."""
    return deserialize_message(serialize_message(message), type(message))


def chunk(steps: int = 24) -> ActionChunk:
    rng = np.random.default_rng(1)
    return ActionChunk(
        stamp_ns=1_700_000_000_123_456_789,
        frame_id="panda_link0",
        components=COMPONENTS,
        values=rng.normal(size=(steps, len(COMPONENTS))),
        time_from_start_s=(np.arange(steps) + 1) / 20.0,
        sequence=41,
        epoch=7,
        contract_crc=zlib.crc32(b"x"),
        committed_steps=3,
    )


@pytest.mark.parametrize("steps", [1, 24, 512])
def test_chunk_round_trip(steps: int) -> None:
    sent = chunk(steps)
    message = messages.chunk_to_message(sent)
    assert message.joint_names == [*COMPONENTS, *RESERVED]
    assert all(len(p.velocities) == len(p.accelerations) == len(p.effort) == 0 for p in message.points)
    got = messages.chunk_from_message(over_the_wire(message))
    np.testing.assert_array_equal(got.values, sent.values)
    np.testing.assert_allclose(got.time_from_start_s, sent.time_from_start_s, rtol=0, atol=1e-9)
    for name in ("stamp_ns", "frame_id", "components", "sequence", "epoch", "contract_crc", "committed_steps"):
        assert getattr(got, name) == getattr(sent, name)


def test_components_are_read_by_name() -> None:
    message = messages.chunk_to_message(chunk())
    order = np.random.default_rng(3).permutation(len(message.joint_names))
    names = list(message.joint_names)
    message.joint_names = [names[i] for i in order]
    for point in message.points:
        positions = list(point.positions)
        point.positions = [positions[i] for i in order]
    got = messages.chunk_from_message(message)
    assert (got.sequence, got.epoch, got.committed_steps, got.contract_crc) == (41, 7, 3, zlib.crc32(b"x"))
    for name in COMPONENTS:
        np.testing.assert_array_equal(got.values[:, got.components.index(name)], chunk().values[:, COMPONENTS.index(name)])


def set_reserved(message: JointTrajectory, name: str, value: float, rows: slice = slice(None)) -> None:
    column = list(message.joint_names).index(name)
    for point in message.points[rows]:
        point.positions[column] = value


@pytest.mark.parametrize("value", [1.5, -1.0, math.nan, math.inf, -math.inf, 2.0**53])
@pytest.mark.parametrize("name", RESERVED)
def test_reserved_components_are_exact_counts(name: str, value: float) -> None:
    message = messages.chunk_to_message(chunk())
    set_reserved(message, name, value)
    with pytest.raises(BadMessage, match="^reserved_components$"):
        messages.chunk_from_message(message)


@pytest.mark.parametrize("row", [0, 11, 23])
@pytest.mark.parametrize("name", RESERVED)
def test_reserved_components_do_not_vary(name: str, row: int) -> None:
    message = messages.chunk_to_message(chunk())
    set_reserved(message, name, 5000.0, slice(row, row + 1))
    with pytest.raises(BadMessage, match="^reserved_components$"):
        messages.chunk_from_message(message)


@pytest.mark.parametrize("name", RESERVED)
def test_missing_and_repeated_reserved_components(name: str) -> None:
    missing = messages.chunk_to_message(chunk())
    missing.joint_names = [other if other != name else "arm/other" for other in missing.joint_names]
    repeated = messages.chunk_to_message(chunk())
    repeated.joint_names = [name if other == "arm/x" else other for other in repeated.joint_names]
    for message in (missing, repeated):
        with pytest.raises(BadMessage, match="^components$"):
            messages.chunk_from_message(message)


@pytest.mark.parametrize("change", [-1, 1])
def test_rows_must_be_as_long_as_the_names(change: int) -> None:
    message = messages.chunk_to_message(chunk())
    positions = list(message.points[5].positions)
    message.points[5].positions = positions[:-1] if change < 0 else [*positions, 0.0]
    with pytest.raises(BadMessage, match="^components$"):
        messages.chunk_from_message(message)


def test_no_points_and_too_many_points() -> None:
    empty = messages.chunk_to_message(chunk())
    empty.points = []
    with pytest.raises(BadMessage, match="^points$"):
        messages.chunk_from_message(empty)
    with pytest.raises(BadMessage, match="^points$"):
        messages.chunk_from_message(messages.chunk_to_message(chunk(513)))


def test_rows_and_times_of_a_chunk_must_fit_when_it_is_made() -> None:
    bad = chunk()
    with pytest.raises(ValueError, match="zip"):
        messages.chunk_to_message(ActionChunk(**{**bad.__dict__, "time_from_start_s": bad.time_from_start_s[:-1]}))


def command() -> JointCommand:
    rng = np.random.default_rng(2)
    return JointCommand(5_000_000_001, rng.normal(size=7), rng.normal(size=7), rng.normal(size=7), {"arm": 0.042})


def test_command_round_trip() -> None:
    sent = command()
    message = messages.command_to_message(sent, ROBOT, sent.stamp_ns, messages.command_names(ROBOT))
    assert message.joint_names == [*ROBOT.joint_names, "arm/gripper"]
    assert message.header.frame_id == ROBOT.base_frame
    got = messages.command_from_message(over_the_wire(message), ROBOT)
    assert (got.stamp_ns, got.gripper_m) == (sent.stamp_ns, sent.gripper_m)
    for name in ("positions_rad", "velocities_rad_s", "accelerations_rad_s2"):
        np.testing.assert_array_equal(getattr(got, name), getattr(sent, name))


def test_command_is_read_by_name() -> None:
    message = messages.command_to_message(command(), ROBOT, 1, messages.command_names(ROBOT))
    message.joint_names = list(reversed(message.joint_names))
    for name in ("positions", "velocities", "accelerations"):
        setattr(message.points[0], name, array.array("d", reversed(getattr(message.points[0], name))))
    got = messages.command_from_message(message, ROBOT)
    np.testing.assert_array_equal(got.positions_rad, command().positions_rad)
    assert got.gripper_m == {"arm": 0.042}


def test_incomplete_commands_are_refused() -> None:
    def fresh() -> JointTrajectory:
        return messages.command_to_message(command(), ROBOT, 1, messages.command_names(ROBOT))

    no_gripper, two_points, no_velocity, no_point = fresh(), fresh(), fresh(), fresh()
    no_gripper.joint_names = [*no_gripper.joint_names[:-1], "other"]
    two_points.points = [*two_points.points, JointTrajectoryPoint()]
    no_velocity.points[0].velocities = []
    no_point.points = []
    for message in (no_gripper, two_points, no_velocity, no_point, JointTrajectory()):
        with pytest.raises(BadMessage, match="^components$"):
            messages.command_from_message(message, ROBOT)


def test_pose_round_trip() -> None:
    pose = Pose(np.array([0.1, -0.2, 0.3]), np.array([0.5, -0.5, 0.5, 0.5]))
    message = over_the_wire(messages.pose_to_message(pose, 12_000_000_034, "panda_link0"))
    assert (messages.nanoseconds(message.header.stamp), message.header.frame_id) == (12_000_000_034, "panda_link0")
    got = messages.pose_from_message(message)
    np.testing.assert_array_equal(got.position_m, pose.position_m)
    np.testing.assert_array_equal(got.quat_xyzw, pose.quat_xyzw)


def test_joint_state_round_trip() -> None:
    message = over_the_wire(messages.joint_state_to_message(9, {"b": 1.0, "a": float(np.float32(2.0))}, {"a": 0.5, "b": -0.5}))
    assert messages.joint_positions(message) == {"b": 1.0, "a": 2.0}
    assert dict(zip(message.name, message.velocity, strict=True)) == {"b": -0.5, "a": 0.5}


def test_joint_states_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadMessage, match="joint name repeated"):
        messages.joint_positions(JointState(name=["a", "a"], position=[1.0, 2.0]))
    for positions in ([1.0], [1.0, 2.0, 3.0], []):
        with pytest.raises(BadMessage, match="do not fit the names"):
            messages.joint_positions(JointState(name=["a", "b"], position=positions))


@pytest.mark.parametrize("shape", [(4, 6), (256, 32), (1, 1)])
def test_features_are_a_32fc1_image(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    message = over_the_wire(messages.features_to_message(features[:, ::-1][:, ::-1], 77, "front"))
    assert (message.encoding, message.height, message.width, message.step) == ("32FC1", shape[0], shape[1], shape[1] * 4)
    assert (message.is_bigendian, message.header.frame_id, messages.nanoseconds(message.header.stamp)) == (0, "front", 77)
    np.testing.assert_array_equal(np.frombuffer(bytes(message.data), "<f4").reshape(shape), features)


def test_features_in_any_memory_order_and_width() -> None:
    features = np.random.default_rng(0).normal(size=(3, 5))
    message = messages.features_to_message(np.asfortranarray(features), 0, "")
    np.testing.assert_array_equal(np.frombuffer(bytes(message.data), "<f4").reshape(3, 5), features.astype(np.float32))


@settings(deadline=None)
@given(st.integers(0, 2**31 * 1_000_000_000 - 1))
def test_stamps_are_exact(nanoseconds: int) -> None:
    assert messages.nanoseconds(messages.stamp(nanoseconds)) == nanoseconds


@settings(deadline=None)
@given(st.floats(0.0, 1e5))
def test_durations_are_exact_to_the_nanosecond(seconds: float) -> None:
    assert abs(messages.nanoseconds(messages.duration(seconds)) - seconds * 1e9) <= 0.51 + seconds * 1e-6


def test_diagnostics() -> None:
    good = over_the_wire(messages.diagnostics(3, "policy", "", {"rate": 0.1234567891, "n": 12345678901234, "on": True, "what": "x"}))
    assert good.status[0].level == DiagnosticStatus.OK
    assert good.status[0].name == "policy"
    assert messages.values_by_key(good.status[0]) == {"rate": "0.123457", "n": "12345678901234", "on": "True", "what": "x"}
    bad = over_the_wire(messages.diagnostics(3, "policy", "camera lost", {}))
    assert (bad.status[0].level, bad.status[0].message) == (DiagnosticStatus.ERROR, "camera lost")
