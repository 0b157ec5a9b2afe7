"""A Quanta X1 behind the calls of its vendor's SDK, without robot: what a bridge can be tried on.

It does as the vendor's documents say, with what they mention in passing: stamps repeat, a command holds until the next one, end poses
are in each arm's own shifted frame, the gripper counts motor radians. Joint states of an arm carry the gripper as one row more, which no
document excludes.
"""

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.official import Official
from lawam_ros.contract.robot import Arm, Robot
from lawam_ros.control.kinematics import Chain

Array = NDArray[np.float64]

JOINT_MODE, SDK_MODE = 1, 3
EX001 = 2
_STATE_S = 0.005
_PICTURE_S = 1.0 / 30.0
_STAMP_S = 0.01
"""Every stamp is given twice."""

_CALL_PAUSE_S = 1.0 / 250.0
"""The documents ask for at most 200 calls a second; a few more pass, as the clocks of two machines differ."""

_FOLLOW_RATE_PER_S = 60.0


class MockX1:
    """Attributes as on the vendor's ``Robot``: left_arm, left_gripper, ..., robot_control, system.

    Faults to inject: ``silent`` (names of groups whose streams stop), ``refusing`` (names of groups that refuse commands), ``hanging`` (an
    Event that, while clear, holds up every command), ``battery``, ``blocked`` (arms that do not move), ``odd`` (group -> joint states
    changed at will).
    """

    def __init__(self, robot: Robot, urdf_text: str, jpeg: bytes = b"", now_s: Callable[[], float] = time.monotonic) -> None:
        """jpeg: what every camera shows; without one the cameras are silent."""
        if robot.official is None:
            raise UserMistake(f"robot {robot.name} has no 'official' section in its file, so nobody knows what its vendor's poses mean")
        self.battery = 80.0
        self.silent: set[str] = set()
        self.refusing: set[str] = set()
        self.blocked: set[str] = set()
        self.odd: dict[str, Callable[[Any], Any]] = {}
        self.hanging = threading.Event()
        self.hanging.set()
        self.stopped = False
        self.work_mode = self.control_mode = 0
        self.too_fast = 0
        self.commands: list[tuple[float, str, Array]] = []
        self.now_s = now_s
        self._closed = threading.Event()
        for arm in robot.arms:
            joints = _Group(self, f"{arm.name}_arm", arm.joints, arm.home_rad)
            motor = _Group(self, f"{arm.name}_gripper", arm.gripper.joints, _open(arm))
            chain = Chain.from_urdf(urdf_text, arm.base_frame, robot.official.end_pose_frames[arm.name])
            setattr(self, f"{arm.name}_arm", _arm_calls(joints, motor, chain, robot.official))
            setattr(self, f"{arm.name}_gripper", _gripper_calls(motor))
        camera = SimpleNamespace(get_rgb_video_stream=self._pictures, get_video_stream=self._pictures)
        self.head_camera = self.left_arm_camera = self.right_arm_camera = camera
        self.jpeg = jpeg
        self.robot_control = SimpleNamespace(
            set_manipulator_control_mode=self._set_control_mode, emergency_stop=self._emergency_stop, recover_emergency_stop=self._recover
        )
        self.system = SimpleNamespace(
            set_work_mode=self._set_work_mode,
            get_dynamic_info=self._dynamic_info,
            get_model_type=lambda timeout=None: SimpleNamespace(model_type=EX001),
        )

    def close(self) -> None:
        """Ends every stream."""
        self._closed.set()

    def running(self, group: str) -> bool:
        return not self._closed.wait(_STATE_S) and group not in self.silent

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def _pictures(self, timeout: float | None = None) -> Iterator[Any]:
        while not self._closed.wait(_PICTURE_S):
            if self.jpeg:
                yield SimpleNamespace(header=SimpleNamespace(stamp=None), format="jpeg", data=self.jpeg)

    def _set_work_mode(self, param: Any, timeout: float | None = None) -> Any:
        self.work_mode = param.mode
        return _result("")

    def _set_control_mode(self, param: Any, timeout: float | None = None) -> Any:
        if self.work_mode != SDK_MODE:
            return _result("not in SDK mode")
        self.control_mode = param.mode
        return _result("")

    def _emergency_stop(self, timeout: float | None = None) -> Any:
        self.stopped = True
        return _result("")

    def _recover(self, timeout: float | None = None) -> Any:
        self.stopped = False
        return _result("")

    def _dynamic_info(self, timeout: float | None = None) -> Any:
        return SimpleNamespace(power_status=SimpleNamespace(is_charging=False, value=self.battery))


class _Group:
    """The joints of an arm, or the motor of a gripper: where they are, and where the last command holds them."""

    def __init__(self, mock: MockX1, name: str, joints: tuple[str, ...], start_rad: Array) -> None:
        self.mock = mock
        self.name = name
        self.joints = joints
        self._lock = threading.Lock()
        self._from = self._target = np.array(start_rad, dtype=float)
        self._since_s = mock.now_s()
        self._called_s = -1.0

    def position(self) -> Array:
        with self._lock:
            return self._now()

    def command(self, target: Array, timeout: float | None) -> Any:
        if not self.mock.hanging.wait(timeout):
            raise TimeoutError("deadline exceeded")
        if self.name in self.mock.refusing or self.mock.stopped:
            return _result("refused")
        if self.mock.work_mode != SDK_MODE or self.mock.control_mode != JOINT_MODE:
            return _result("not in joint position mode")
        now_s = self.mock.now_s()
        with self._lock:
            if now_s - self._called_s < _CALL_PAUSE_S:
                self.mock.too_fast += 1
            self._called_s = now_s
            self._from, self._since_s, self._target = self._now(), now_s, np.array(target, dtype=float)
        self.mock.commands.append((now_s, self.name, np.array(target, dtype=float)))
        return _result("")

    def stamp(self) -> Any:
        steps = int(self.mock.now_s() / _STAMP_S)
        return SimpleNamespace(sec=int(steps * _STAMP_S), nanosec=round((steps * _STAMP_S % 1.0) * 1e9))

    def _now(self) -> Array:
        if self.name in self.mock.blocked:
            return self._from
        lag = np.exp(-_FOLLOW_RATE_PER_S * max(0.0, self.mock.now_s() - self._since_s))
        return np.asarray(self._target + lag * (self._from - self._target))


def mock_sdk(mock: MockX1) -> Any:
    """What ``x2robot`` and ``x2robot.sdk`` offer to a bridge, with the mock at every address."""
    parameter = SimpleNamespace
    return SimpleNamespace(
        connect=lambda address: mock,
        JointPositions=parameter,
        GripperPosition=parameter,
        RobotModeParam=parameter,
        RobotWorkMode=SimpleNamespace(SDK=SDK_MODE),
        ManipulatorControlModeParam=parameter,
        ManipulatorControlMode=SimpleNamespace(MANIPULATOR_JOINT_POSITIONS=JOINT_MODE),
        RobotModelType=SimpleNamespace(EX001=EX001),
        H26xStreamDecoder=SimpleNamespace,
    )


def _open(arm: Arm) -> Array:
    return np.array([arm.gripper.opening_max_m / arm.gripper.opening_per_joint])


def _arm_calls(joints: _Group, motor: _Group, chain: Chain, official: Official) -> Any:
    def states() -> Any:
        names, position = [*joints.joints, *motor.joints], [*joints.position().tolist(), *motor.position().tolist()]
        message = SimpleNamespace(header=SimpleNamespace(stamp=joints.stamp()), name=names, position=position, velocity=[], effort=[])
        return joints.mock.odd.get(joints.name, lambda message: message)(message)

    def end_pose() -> Any:
        pose = chain.pose(joints.position())
        position = SimpleNamespace(**dict(zip("xyz", (pose.position_m - official.end_pose_offset_m).tolist(), strict=True)))
        orientation = SimpleNamespace(**dict(zip("xyzw", pose.quat_xyzw.tolist(), strict=True)))
        return SimpleNamespace(
            header=SimpleNamespace(stamp=joints.stamp()), pose=SimpleNamespace(position=position, orientation=orientation)
        )

    return SimpleNamespace(
        set_joint_positions=lambda param, timeout=None: joints.command(np.array(param.positions), timeout),
        get_joint_states=lambda timeout=None: states(),
        get_end_pose=lambda timeout=None: end_pose(),
        get_joint_states_stream=lambda timeout=None: _stream(joints, states),
    )


def _gripper_calls(motor: _Group) -> Any:
    def state() -> Any:
        message = SimpleNamespace(header=SimpleNamespace(stamp=motor.stamp()), name=list(motor.joints), position=motor.position().tolist())
        return motor.mock.odd.get(motor.name, lambda message: message)(message)

    return SimpleNamespace(
        set_position=lambda param, timeout=None: motor.command(np.array([param.position]), timeout),
        get_position=lambda timeout=None: SimpleNamespace(header=SimpleNamespace(stamp=motor.stamp()), position=float(motor.position()[0])),
        get_joint_states_stream=lambda timeout=None: _stream(motor, state),
    )


def _stream(group: _Group, make: Callable[[], Any]) -> Iterator[Any]:
    """About 200 messages a second; a silent group's stream goes on without any."""
    while not group.mock.closed:
        if group.mock.running(group.name):
            yield make()


def _result(error: str) -> Any:
    return SimpleNamespace(is_success=not error, error_message=error, error_code=1 if error else 0)
