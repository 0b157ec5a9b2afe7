"""Everything about a real robot that is neither joints nor commands: its controller, its state, its description, its gripper, its recovery.

A node of its own beside the executor's, spun by a thread of its own: nothing here can hold up ticks or joint states.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from lifecycle_msgs.msg import State
from rclpy.serialization import deserialize_message
from std_msgs.msg import String

from lawam_ros.contract.controllers import check_type
from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.real import TRAJECTORY_WINDOW, RealRobot
from lawam_ros.contract.robot import Robot
from lawam_ros.control.controller_watch import ControllerWatch
from lawam_ros.control.franka_mode import robot_trouble
from lawam_ros.nodes import qos
from lawam_ros.nodes.calls import call_action, call_service
from lawam_ros.nodes.gripper_actions import GripperActions, GripperWish
from lawam_ros.nodes.inputs_node import inputs_node
from lawam_ros.nodes.managed import InputMissing, ManagedNode
from lawam_ros.nodes.own_thread import OwnThread
from lawam_ros.nodes.robot_interfaces import RobotInterfaces

Tell = Callable[[Callable[[ControllerWatch], None]], None]

_READ_EVERY_S = 0.01
_DESCRIPTION_S = 2.0
_LIST_S = 1.0
_RECOVERY_S = 10.0
_STRICT = 2


class RobotLink:
    """tell: passes on what is heard, in the executor's own time. wish: see GripperActions."""

    def __init__(
        self,
        owner: ManagedNode,
        interfaces: RobotInterfaces,
        robot: Robot,
        real: RealRobot,
        tell: Tell,
        wish: Callable[[], GripperWish | None],
    ) -> None:
        self._interfaces = interfaces
        self._robot = robot
        self._real = real
        self._tell = tell
        self._described = threading.Event()
        self._description = ""
        self._read_s = {"controller": 0.0, "robot": 0.0}
        self._trouble = self._errors = ""
        self._active: bool | None = None
        node = self._node = inputs_node(owner, "robot")
        watch = real.watch
        node.create_subscription(String, "robot_description", self._on_description, qos.LATCHED)
        node.create_subscription(interfaces.activity, f"{watch.controller_manager}/activity", self._on_activity, qos.LATCHED)
        # Both come a thousand times a second: most are dropped before they are decoded.
        node.create_subscription(interfaces.robot_state, watch.robot_state, self._on_robot_state, qos.BEAT, raw=True)
        if real.output == TRAJECTORY_WINDOW:
            node.create_subscription(interfaces.controller_state, watch.controller_state, self._on_controller_state, qos.BEAT, raw=True)
        self._gripper = GripperActions(node, interfaces, real.gripper, robot.arms[0].gripper.opening_max_m, wish)
        self._thread = OwnThread(node, "robot-link", owner.fail)

    def close(self) -> None:
        self._thread.close()

    def repeat(self) -> None:
        """Say again what was heard before there was an executor to be told: the controller manager speaks only of changes."""
        active = self._active
        if active is not None:
            self._tell(lambda watch: watch.activity(active))

    def description(self) -> str:
        """URDF that the driver publishes. Raises InputMissing when none comes."""
        if not self._described.wait(_DESCRIPTION_S):
            raise InputMissing("expected robot_description from the driver, none came; is it running?")
        return self._description

    def check_controller(self) -> None:
        """Whether the controller that is loaded takes our commands. Raises InputMissing until it is there, UserMistake for another kind."""
        name = f"{self._real.watch.controller_manager}/list_controllers"
        request = self._interfaces.list_controllers.Request()
        try:
            found = call_service(self._node, self._interfaces.list_controllers, name, request, _LIST_S).controller
        except LawamError as error:
            raise InputMissing(str(error)) from error
        kinds = {str(entry.name): str(entry.type) for entry in found}
        if self._real.controller not in kinds:
            raise InputMissing(
                f"expected controller {self._real.controller} in the controller manager, it has {', '.join(kinds) or 'none'}"
            )
        check_type(self._real, kinds[self._real.controller])

    def recover(self) -> str:
        """After a reflex or a stop, in the order the driver demands: errors, hardware, controller. Empty, or what failed.

        Nothing moves by it: the executor stays latched until it is reset, and then starts from the measured pose.
        """
        steps = (("error recovery", self._clear_errors), ("hardware", self._activate_hardware), ("controller", self._restart_controller))
        for name, step in steps:
            try:
                step()
            except LawamError as error:
                return f"{name}: {error}"
        return ""

    def warning(self) -> str:
        return self._gripper.trouble

    def report(self) -> dict[str, object]:
        controller = "active" if self._active else "inactive"
        return {"controller": controller, "robot": self._trouble or "ok", "robot_errors": self._errors, "gripper_goals": self._gripper.sent}

    def _clear_errors(self) -> None:
        action = self._interfaces.error_recovery
        call_action(self._node, action, self._real.watch.error_recovery, action.Goal(), _RECOVERY_S)

    def _activate_hardware(self) -> None:
        service, watch = self._interfaces.set_hardware_component_state, self._real.watch
        request = service.Request(name=watch.hardware, target_state=State(id=State.PRIMARY_STATE_ACTIVE, label="active"))
        reply = call_service(self._node, service, f"{watch.controller_manager}/set_hardware_component_state", request, _RECOVERY_S)
        if not reply.ok:
            raise LawamError(f"expected {watch.hardware} to become active, it is {reply.state.label or 'as it was'}")

    def _restart_controller(self) -> None:
        service, controller = self._interfaces.switch_controller, self._real.controller
        running = [controller] if self._active else []
        request = service.Request(activate_controllers=[controller], deactivate_controllers=running, strictness=_STRICT, activate_asap=True)
        reply = call_service(self._node, service, f"{self._real.watch.controller_manager}/switch_controller", request, _RECOVERY_S)
        if not reply.ok:
            raise LawamError(f"expected {controller} to be activated, the controller manager refused: {reply.message or 'no reason given'}")

    def _on_description(self, message: String) -> None:
        self._description = str(message.data)
        self._described.set()

    def _on_activity(self, message: Any) -> None:
        states = {str(entry.name): int(entry.state.id) for entry in message.controllers}
        active = self._active = states.get(self._real.controller) == State.PRIMARY_STATE_ACTIVE
        self._tell(lambda watch: watch.activity(active))

    def _on_controller_state(self, raw: bytes) -> None:
        if not self._due("controller"):
            return
        message = deserialize_message(raw, self._interfaces.controller_state)
        positions = dict(zip(message.joint_names, message.reference.positions, strict=False))
        reference = np.array([positions.get(name, np.nan) for name in self._robot.joint_names])
        now_ns = time.monotonic_ns()
        self._tell(lambda watch: watch.reference(reference, now_ns))

    def _on_robot_state(self, raw: bytes) -> None:
        if not self._due("robot"):
            return
        message = deserialize_message(raw, self._interfaces.robot_state)
        trouble = self._trouble = robot_trouble(int(message.robot_mode))
        self._errors = errors_in_words(message.current_errors)
        self._tell(lambda watch: watch.robot(trouble))

    def _due(self, stream: str) -> bool:
        now_s = time.monotonic()
        if now_s - self._read_s[stream] < _READ_EVERY_S:
            return False
        self._read_s[stream] = now_s
        return True


def errors_in_words(errors: Any) -> str:
    """Names of the flags that are set in a message of flags."""
    return ", ".join(name for name in errors.get_fields_and_field_types() if getattr(errors, name) is True)
