"""Bridge node of the Quanta X1: set-points in, the vendor's commands out, joint states back. Owns watchdog, battery guard and rates.

Three threads matter: the cycle on absolute deadlines, which decides and sends; the one that tells its joints on topics, since the
middleware may hold up a publisher for longer than the arms may go without commands; the main spinner, which notices when a call of the
vendor's library holds up the cycle.
"""

import sys
import threading
import time

import numpy as np
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.bridge import ACTIVE_TOPIC, MOCK
from lawam_ros.contract.errors import LawamError, UserMistake
from lawam_ros.contract.robot import Camera, Robot
from lawam_ros.control.bridge_guard import BRAKING, FOLLOWING, LATCHED, BridgeGuard
from lawam_ros.control.robot_report import BackEnd, RobotReport, SendRefused
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.bridge_messages import measured_message, reference_message
from lawam_ros.nodes.images import image_message, image_type
from lawam_ros.nodes.inputs_node import inputs_node
from lawam_ros.nodes.managed import InputMissing, ManagedNode, run
from lawam_ros.nodes.newest_thread import NewestThread
from lawam_ros.nodes.other_publishers import other_publishers
from lawam_ros.nodes.own_thread import OwnThread
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.priority import EXECUTOR, lock_memory, raise_priority
from lawam_ros.nodes.tick_thread import TickThread
from lawam_ros.nodes.x1_back_ends import back_end_named
from lawam_ros.nodes.x1_cameras import X1Cameras
from lawam_ros.nodes.x1_sdk import SdkBackEnd

BACKEND = Parameter("backend", MOCK, "Way to the robot: sdk (the vendor's Python package), topics (those on the robot), mock (no robot).")
TABLE = (BACKEND,)

Word = tuple[Publisher, JointState]

_HUNG_S = 0.2
"""At least; a cycle is never late before its commands would be."""

_WATCH_S = 0.02
_PUBLISHERS_S = 1.0
_REST_S = 5.0
_JOIN_S = 5.0


class X1BridgeNode(ManagedNode):
    """Wires ``control.bridge_guard.BridgeGuard`` to a back end, topics and the monotonic clock."""

    def __init__(self) -> None:
        super().__init__("x1_bridge", TABLE)
        self._lock = threading.Lock()
        self._releasing = threading.Lock()  # a timer must not publish on what teardown is about to destroy
        self._guard: BridgeGuard | None = None
        self._tick: TickThread | None = None
        self._words: NewestThread[list[Word]] | None = None
        self._inputs: OwnThread | None = None
        self._back_end: BackEnd | None = None
        self._cameras: X1Cameras | None = None
        self._cycled_s = time.monotonic()
        self._told_active: bool | None = None
        self._bad_commands = 0
        self._refused_by_robot = ""
        self._others = ""
        self._begun = False
        self._watch_timer = self.create_timer(_WATCH_S, self._watch)
        self._publishers_timer = self.create_timer(_PUBLISHERS_S, self._watch_publishers)

    def setup(self) -> None:
        robot = self._robot = self.contract().robot
        if robot.bridge is None:
            raise UserMistake(f"robot {robot.name} has no 'bridge' section in its file; expected a robot that a bridge drives")
        kind = str(self.get_parameter("backend").value)
        # A mock stands in for a robot, so it may hear what simulations say; a robot must not.
        self._command_topic = robot.sim_command_topic if kind == MOCK else robot.bridge.command_topic
        self._guard = BridgeGuard(robot, robot.bridge)
        self._inputs = OwnThread(inputs_node(self), "inputs", self.fail)
        self._back_end = back_end_named(kind, robot, robot.bridge, self._inputs.node)
        self._back_end.open()
        self._period_s = 1.0 / robot.bridge.rate_hz
        self._hung_s = max(_HUNG_S, 2.0 * robot.bridge.command_age_s)
        self._joint_states = self.create_publisher(JointState, robot.joint_states_topic, qos.REFERENCE)
        self._obeys = self.create_publisher(Bool, ACTIVE_TOPIC, qos.LATCHED)
        self._reference = self.create_publisher(JointState, robot.bridge.reference_topic, qos.BEAT)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self._inputs.node.create_subscription(JointTrajectory, self._command_topic, self._on_command, qos.COMMAND)
        self._show_cameras(robot)
        self._words = NewestThread("words", _publish, self.fail)
        self._tick = TickThread(round(self._period_s * 1e9), self._cycle, self.fail)
        self._tick.start()

    def start(self) -> None:
        assert self._guard is not None and self._back_end is not None
        self._others, _ = self._intruders()
        if self._others:  # one that was killed is remembered by the middleware for some seconds
            raise InputMissing(self._others)
        with self._lock:
            problem = self._guard.problem(time.monotonic_ns())
        if problem:
            raise InputMissing(problem)
        try:
            self._back_end.begin()
        except UserMistake:
            raise
        except LawamError as error:
            raise InputMissing(str(error)) from error
        with self._lock:
            refusal = self._guard.reset(time.monotonic_ns())
        if refusal:
            raise InputMissing(refusal)
        self._begun = True

    def stop(self) -> None:
        """Brakes to rest; the robot then holds the last command."""
        assert self._guard is not None
        self._request_stop("deactivated")
        deadline_s = time.monotonic() + _REST_S
        while time.monotonic() < deadline_s:
            with self._lock:
                if self._guard.state not in (FOLLOWING, BRAKING):
                    self._begun = False
                    return
            time.sleep(self._period_s)
        self._begun = False
        raise LawamError(f"expected the arms to come to rest within {_REST_S:g} s, they did not; use the robot's own emergency stop")

    def teardown(self) -> None:
        with self._releasing:
            tick, self._tick = self._tick, None
            self._told_active = None  # whoever listens to the next publisher has not been told
        if tick is not None:
            tick.stop()
        if self._words is not None:
            self._words.close()
            self._words = None
        if self._cameras is not None:
            self._cameras.close()
            self._cameras = None
        if self._back_end is not None:
            self._back_end.close()
            self._back_end = None
        if self._inputs is not None:
            self._inputs.close(_JOIN_S)
            self._inputs = None
        self._guard = None

    def report(self) -> tuple[str, dict[str, object]]:
        if self._guard is None or self._tick is None or self._back_end is None:
            return "", {}
        with self._lock:
            guard = self._guard
            state, reason = guard.state, guard.reason
            values: dict[str, object] = {"state": state, "reason": reason, "dropped": guard.dropped, "dropped_reason": guard.dropped_reason}
            problem = guard.problem(time.monotonic_ns())
        level = self._back_end.report().battery_percent
        values |= {"battery_percent": "unknown" if level is None else float(level), "bad_commands": self._bad_commands}
        values |= dict(zip(("robot_bad_messages", "robot_last_bad"), self._back_end.bad_messages, strict=True))
        if self._cameras is not None:
            values |= {"pictures": self._cameras.pictures, "camera_problems": "; ".join(self._cameras.problems.values())}
        values |= {"refused_by_robot": self._refused_by_robot, **self._tick.statistics()}
        stopped = reason if state in (BRAKING, LATCHED) else ""
        return "; ".join(text for text in (stopped, self._hung(), problem, self._others) if text), values

    def warning(self) -> str:
        return self._guard.warning() if self._guard is not None else ""

    def _show_cameras(self, robot: Robot) -> None:
        """Of a back end that has them; with the robot's own topics its cameras are remapped."""
        if isinstance(self._back_end, SdkBackEnd):
            self._images = {camera.name: self.create_publisher(image_type(camera), camera.topic, qos.IMAGE_OUT) for camera in robot.cameras}
            self._cameras = self._back_end.show(self._publish_picture)

    def _publish_picture(self, camera: Camera, rgb: NDArray[np.uint8]) -> None:
        """Stamped on arrival: the robot's clock is another. ``latency_s`` of the robot file is subtracted by whoever reads."""
        stamp_ns = self.get_clock().now().nanoseconds
        self._images[camera.name].publish(image_message(rgb, camera, stamp_ns, f"{camera.name}_optical_frame"))

    def _on_command(self, message: JointTrajectory) -> None:
        assert self._guard is not None
        try:
            command = messages.command_from_message(message, self._robot)
        except messages.BadMessage as error:
            self._bad_commands += 1
            self.get_logger().warning(f"set-point dropped: {error}", throttle_duration_sec=1.0)
            return
        if not self._begun:
            return
        age_s = (self.get_clock().now().nanoseconds - command.stamp_ns) * 1e-9
        with self._lock:
            self._guard.take(command, age_s, time.monotonic_ns())

    def _cycle(self, deadline_ns: int, index: int) -> None:
        assert self._guard is not None and self._back_end is not None and self._words is not None
        report = self._back_end.report()
        now_ns = time.monotonic_ns()
        with self._lock:
            self._guard.hear(report, now_ns)
            command = self._guard.cycle(now_ns)
        if command is not None:
            accepted = True
            try:
                self._back_end.send(command)
            except SendRefused as refusal:
                accepted, self._refused_by_robot = False, str(refusal)
            with self._lock:
                self._guard.sent(accepted)
        self._words.hand(self._told(report))
        self._cycled_s = time.monotonic()

    def _told(self, report: RobotReport) -> list[Word]:
        """Joints, stamped as old as the oldest part: whoever reads joint_states must see one arm of a robot fall silent. What the robot was
        told, for the executor, which stops when its commands are not that."""
        assert self._guard is not None and self._robot.bridge is not None
        with self._lock:
            age_s, reference_rad = self._guard.report_age_s(time.monotonic_ns()), self._guard.reference_rad
        now_ns = self.get_clock().now().nanoseconds
        words: list[Word] = []
        if age_s <= self._robot.bridge.state_age_s:
            words.append((self._joint_states, measured_message(self._robot, report, now_ns - round(age_s * 1e9))))
        if reference_rad is not None:
            words.append((self._reference, reference_message(self._robot, reference_rad, now_ns)))
        return words

    def _hung(self) -> str:
        age_s = time.monotonic() - self._cycled_s
        return f"a call to the robot has not come back for {age_s:.1f} s; it holds the last command" if age_s > self._hung_s else ""

    def _watch(self) -> None:
        """Says whether the robot obeys; a cycle that hangs in a call does not."""
        with self._releasing:
            if self._guard is None or self._tick is None:
                return
            hung = self._hung()
            if hung:
                self.get_logger().error(hung, throttle_duration_sec=1.0)
            with self._lock:
                if hung:
                    self._guard.fault("call_hangs")
                active = self._begun and not hung and self._guard.obeys(time.monotonic_ns())
            if active == self._told_active:
                return
            self._told_active = active
            self._obeys.publish(Bool(data=active))
        self._publish_diagnostics()

    def _watch_publishers(self) -> None:
        with self._releasing:
            if self._tick is None:
                return
            self._others, reason = self._intruders()
        if reason:
            self._request_stop(reason)

    def _intruders(self) -> tuple[str, str]:
        """Who else sends set-points, or speaks as a bridge, in a sentence and as a reason; both empty when nobody does."""
        assert self._back_end is not None
        commands = other_publishers(self, self._command_topic, 1) or self._back_end.others()
        if commands:
            return commands, "second_command_publisher"
        bridges = other_publishers(self, ACTIVE_TOPIC, 1)
        return bridges, "second_bridge" if bridges else ""

    def _request_stop(self, reason: str) -> None:
        with self._lock:
            if self._guard is not None:
                self._guard.fault(reason)

    def _on_stop(self, _: Trigger.Request, reply: Trigger.Response) -> Trigger.Response:
        self._request_stop("stop_requested")
        reply.success, reply.message = True, "braking to rest, then latched until x1_bridge/reset"
        return reply

    def _on_reset(self, _: Trigger.Request, reply: Trigger.Response) -> Trigger.Response:
        with self._lock:
            problem = self._guard.reset(time.monotonic_ns()) if self._guard is not None else "not configured"
        reply.success, reply.message = not problem, problem or "waiting for set-points that start where the arms are"
        return reply


def _publish(words: list[Word]) -> None:
    for publisher, message in words:
        publisher.publish(message)


def main() -> int:
    raise_priority(EXECUTOR)
    lock_memory()
    return run(X1BridgeNode)


if __name__ == "__main__":
    sys.exit(main())
