"""A Quanta X1 through its vendor's Python SDK (``x2robot``, facts: its API page for the X1, version 1.1.1). Never tried on a robot.

Streams are read by threads of their own; commands are calls with a deadline, left arm, right arm, then the grippers that move.
"""

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from lawam_ros.contract.bridge import Bridge
from lawam_ros.contract.errors import EnvironmentLacks, LawamError, UserMistake
from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.robot import Arm, Robot
from lawam_ros.contract.rotations import quat_inverse, quat_multiply, rotvec_from_quat
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.robot_report import RobotReport, SendRefused
from lawam_ros.control.x1_streams import X1Streams, arm_stream, gripper_stream
from lawam_ros.nodes.x1_cameras import Publish, X1Cameras

_SETUP_S = 10.0
_CALL_S = 0.05
_BATTERY_S = 1.0
_STREAM_RETRY_S = 0.5
_GRIPPER_STEP_RAD = 0.01
_SAME_POSE_M, _SAME_POSE_RAD = 0.005, 0.035
"""How far the vendor's end pose may lie from the one that our description gives for the same joints."""


def vendor_sdk() -> Any:
    """What a bridge needs of the vendor's packages. Raises EnvironmentLacks."""
    try:
        import x2robot
        from x2robot import sdk
        from x2robot.utils import H26xStreamDecoder
    except ImportError as error:
        raise EnvironmentLacks(
            "back end sdk needs the vendor's package x2robot (github.com/X-Square-Robot/sdk_robot), which is not installed; install it, or "
            "use backend:=mock"
        ) from error
    names = (
        "JointPositions",
        "GripperPosition",
        "RobotModeParam",
        "RobotWorkMode",
        "ManipulatorControlModeParam",
        "ManipulatorControlMode",
        "RobotModelType",
    )
    return SimpleNamespace(connect=x2robot.connect, H26xStreamDecoder=H26xStreamDecoder, **{name: getattr(sdk, name) for name in names})


class SdkBackEnd:
    """sdk: ``vendor_sdk()``, or the mock's. urdf_text: of the robot file, against which the vendor's poses are held."""

    def __init__(self, robot: Robot, bridge: Bridge, urdf_text: str, sdk: Any) -> None:
        if robot.official is None:
            raise UserMistake(f"robot {robot.name} has no 'official' section in its file, so nobody knows what its vendor's poses mean")
        self._robot = robot
        self._bridge = bridge
        self._sdk = sdk
        self._official = robot.official
        self._chains = {
            arm.name: Chain.from_urdf(urdf_text, arm.base_frame, self._official.end_pose_frames[arm.name]) for arm in robot.arms
        }
        self._streams = X1Streams(robot)
        self._client: Any = None
        self._closed = threading.Event()
        self._motors: dict[str, float] = {}

    def open(self) -> None:
        try:
            self._client = self._sdk.connect(self._bridge.sdk_address)
            model = self._client.system.get_model_type(timeout=_SETUP_S).model_type
        except Exception as error:  # whatever the vendor's library raises
            raise LawamError(f"expected a robot at {self._bridge.sdk_address}, got {type(error).__name__}: {error}") from error
        if model != self._sdk.RobotModelType.EX001:
            raise UserMistake(f"expected a Quanta X1 (EX001) at {self._bridge.sdk_address}, it says it is model {model}")
        for arm in self._robot.arms:
            self._listen(arm_stream(arm.name), arm.joints)
            self._listen(gripper_stream(arm.name), arm.gripper.joints)
        threading.Thread(target=self._watch_battery, name="battery", daemon=True).start()

    def show(self, publish: Publish) -> X1Cameras:
        """Cameras of the robot file, from now on; after ``open``."""
        return X1Cameras(self._client, self._sdk.H26xStreamDecoder, self._robot.cameras, self._bridge.camera_streams, publish)

    def begin(self) -> None:
        for arm in self._robot.arms:
            self._check_frames(arm)
        sdk = self._sdk
        mode = sdk.RobotModeParam(mode=sdk.RobotWorkMode.SDK)
        self._set_up("SDK mode", lambda: self._client.system.set_work_mode(mode, timeout=_SETUP_S))
        joint_mode = sdk.ManipulatorControlModeParam(mode=sdk.ManipulatorControlMode.MANIPULATOR_JOINT_POSITIONS)
        self._set_up("joint positions", lambda: self._client.robot_control.set_manipulator_control_mode(joint_mode, timeout=_SETUP_S))

    def report(self) -> RobotReport:
        return self._streams.report(time.monotonic())

    def others(self) -> str:
        """The SDK does not say; another client is noticed when the arms do not go where they are sent."""
        return ""

    @property
    def bad_messages(self) -> tuple[int, str]:
        return self._streams.bad_messages, self._streams.last_bad

    def send(self, command: JointCommand) -> None:
        for arm in self._robot.arms:
            positions = command.positions_rad[self._robot.joint_slice(arm.name)].tolist()
            self._call(arm_stream(arm.name), "set_joint_positions", self._sdk.JointPositions(positions=positions))
        for arm in self._robot.arms:
            motor_rad = command.gripper_m[arm.name] / arm.gripper.opening_per_joint
            if abs(motor_rad - self._motors.get(arm.name, np.inf)) >= _GRIPPER_STEP_RAD:
                self._call(gripper_stream(arm.name), "set_position", self._sdk.GripperPosition(position=float(motor_rad)))
                self._motors[arm.name] = motor_rad

    def close(self) -> None:
        """The robot stays in SDK mode and holds the last command: leaving the mode is the operator's decision."""
        self._closed.set()
        close = getattr(self._client, "close", None)
        if close is not None:
            close()

    def _call(self, group: str, name: str, parameter: Any) -> None:
        try:
            result = getattr(getattr(self._client, group), name)(parameter, timeout=_CALL_S)
            refusal = "" if result.is_success is True else str(result.error_message or "refused")
        except Exception as error:  # whatever the vendor's library raises, a deadline included, or a reply that is none
            raise SendRefused(f"{group}.{name}: {type(error).__name__}: {error}") from error
        if refusal:
            raise SendRefused(f"{group}.{name}: {refusal}")

    def _set_up(self, what: str, call: Callable[[], Any]) -> None:
        try:
            result = call()
            refusal = "" if result.is_success is True else str(result.error_message or "no reason given")
        except Exception as error:
            raise LawamError(f"expected the robot to enter {what}, got {type(error).__name__}: {error}") from error
        if refusal:
            raise LawamError(f"expected the robot to enter {what}, it refused: {refusal}; it must be idle before")

    def _check_frames(self, arm: Arm) -> None:
        """The vendor's end pose against ours for the same joints: with another offset, frame or joint order commands lead elsewhere."""
        group = getattr(self._client, arm_stream(arm.name))
        try:
            states, told = group.get_joint_states(timeout=_SETUP_S), group.get_end_pose(timeout=_SETUP_S).pose
            joints = dict(zip(states.name, states.position, strict=False))
            ours = self._chains[arm.name].pose(np.array([joints[name] for name in arm.joints]))
            position = np.array([told.position.x, told.position.y, told.position.z], float) + self._official.end_pose_offset_m
            quat = np.array([told.orientation.x, told.orientation.y, told.orientation.z, told.orientation.w], float)
        except Exception as error:
            raise LawamError(f"expected joints and end pose of the {arm.name} arm, got {type(error).__name__}: {error}") from error
        distance_m = float(np.linalg.norm(position - ours.position_m))
        angle_rad = float(np.linalg.norm(rotvec_from_quat(quat_multiply(quat, quat_inverse(ours.quat_xyzw)))))
        if not (distance_m <= _SAME_POSE_M and angle_rad <= _SAME_POSE_RAD):
            raise UserMistake(
                f"{arm.name} arm: expected the robot's end pose within {_SAME_POSE_M:g} m and {_SAME_POSE_RAD:g} rad of our description's, "
                f"it is {distance_m:.4f} m and {angle_rad:.3f} rad away; check robot.official and the description"
            )

    def _listen(self, group: str, joints: tuple[str, ...]) -> None:
        def read() -> None:
            while not self._closed.is_set():
                try:
                    self._read(group, joints, getattr(self._client, group).get_joint_states_stream())
                except Exception as error:  # the stream's silence stops the arms; here it is only tried again
                    self._streams.last_bad = f"{group}: stream ended: {type(error).__name__}: {error}"
                self._closed.wait(_STREAM_RETRY_S)

        threading.Thread(target=read, name=group, daemon=True).start()

    def _read(self, group: str, joints: tuple[str, ...], messages: Iterator[Any]) -> None:
        for message in messages:
            if self._closed.is_set():
                return
            stamp = message.header.stamp
            stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
            self._streams.joints(group, joints, list(message.name), list(message.position), stamp_ns)

    def _watch_battery(self) -> None:
        while not self._closed.is_set():
            try:
                level = self._client.system.get_dynamic_info(timeout=_SETUP_S).power_status.value
                self._streams.battery(level, time.monotonic())
            except Exception as error:  # an unknown level stops the arms once the last one is old
                self._streams.last_bad = f"battery: {type(error).__name__}: {error}"
            self._closed.wait(_BATTERY_S)
