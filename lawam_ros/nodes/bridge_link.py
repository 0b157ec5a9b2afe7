"""What the executor hears from a bridge of ours, and asks of it: whether it obeys, what the robot was told, whose mock or robot it has.

A node of its own beside the executor's, spun by a thread of its own, as ``RobotLink``: nothing here can hold up ticks or joint states.
"""

import time
from collections.abc import Callable

import numpy as np
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from lawam_ros.contract.bridge import ACTIVE_TOPIC, Bridge
from lawam_ros.contract.errors import LawamError, UserMistake
from lawam_ros.contract.load import Contract, listed, load_contract
from lawam_ros.control.controller_watch import ControllerWatch
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.calls import call_service
from lawam_ros.nodes.inputs_node import inputs_node
from lawam_ros.nodes.managed import InputMissing, ManagedNode
from lawam_ros.nodes.own_thread import OwnThread

_ASK_S = 1.0
_RECOVERY_S = 3.0
_AGAIN_S = 0.05


class BridgeLink:
    """tell: passes on what is heard, in the executor's own time."""

    def __init__(
        self, owner: ManagedNode, contract: Contract, bridge: Bridge, tell: Callable[[Callable[[ControllerWatch], None]], None]
    ) -> None:
        self._contract = contract
        self._bridge = bridge
        self._tell = tell
        self._active: bool | None = None
        self._back_end = ""
        self._bad_messages = 0
        node = self._node = inputs_node(owner, "bridge")
        node.create_subscription(Bool, ACTIVE_TOPIC, self._on_active, qos.LATCHED)
        node.create_subscription(JointState, bridge.reference_topic, self._on_reference, qos.BEAT)
        self._thread = OwnThread(node, "bridge-link", owner.fail)

    def close(self) -> None:
        self._thread.close()

    def check(self, back_ends: tuple[str, ...]) -> None:
        """Whether the bridge has one of these back ends, and our contract. Raises InputMissing until it answers, UserMistake otherwise."""
        names = ["backend", "task", "robot", "overrides"]
        try:
            reply = call_service(
                self._node, GetParameters, f"{self._bridge.node}/get_parameters", GetParameters.Request(names=names), _ASK_S
            )
        except LawamError as error:
            raise InputMissing(f"{error}; is {self._bridge.node} running?") from error
        self._back_end, task, robot, overrides = (str(value.string_value) for value in reply.values)
        if self._back_end not in back_ends:
            raise UserMistake(
                f"expected {self._bridge.node} with back end {' or '.join(back_ends)}, it has {self._back_end or 'none'}; start "
                "another, or the executor with the parameter hardware that fits"
            )
        if load_contract(task, robot or None, listed(overrides)).crc != self._contract.crc:
            raise UserMistake(
                f"expected {self._bridge.node} with our task, robot and overrides, it has task:={task} robot:={robot} "
                f"overrides:='{overrides}'"
            )

    def repeat(self) -> None:
        """Say again what was heard before there was an executor to be told: the bridge speaks only of changes."""
        active = self._active
        if active is not None:
            self._tell(lambda watch: watch.activity(active))

    def recover(self) -> str:
        """Out of whatever the bridge is latched in, or from obeying through a stop. Empty when it obeys again, or what failed.

        Nothing moves by it: the executor stays latched until it is reset, and then starts from the measured pose.
        """
        node = self._bridge.node
        try:
            if self._active is not False:
                self._call("stop")
            self._until(lambda: "" if self._active is False else f"expected word of {node} that it has stopped, none came")
            self._until(lambda: self._call("reset"))
            self._until(lambda: "" if self._active else f"expected word of {node} that it obeys again, none came; is it active?")
        except LawamError as error:
            return str(error)
        return ""

    def warning(self) -> str:
        return ""

    def report(self) -> dict[str, object]:
        obeys = {None: "silent", True: "obeys", False: "does not obey"}[self._active]
        return {"bridge": obeys, "bridge_backend": self._back_end, "bridge_bad_messages": self._bad_messages}

    def _call(self, service: str) -> str:
        """Empty when it was done, else why not."""
        name = f"{self._bridge.node}/{service}"
        reply = call_service(self._node, Trigger, name, Trigger.Request(), _ASK_S)
        return "" if reply.success else f"{name}: {reply.message}"

    def _until(self, problem: Callable[[], str]) -> None:
        """Waits until there is none. Raises LawamError with the one that stays; braking arms need a second."""
        deadline_s = time.monotonic() + _RECOVERY_S
        while found := problem():
            if time.monotonic() > deadline_s:
                raise LawamError(found)
            time.sleep(_AGAIN_S)

    def _on_active(self, message: Bool) -> None:
        active = self._active = bool(message.data)
        self._tell(lambda watch: watch.activity(active))

    def _on_reference(self, message: JointState) -> None:
        try:
            positions = messages.joint_positions(message)
        except messages.BadMessage:
            self._bad_messages += 1
            return
        reference = np.array([positions.get(name, np.nan) for name in self._contract.robot.joint_names])
        now_ns = time.monotonic_ns()
        self._tell(lambda watch: watch.reference(reference, now_ns))
