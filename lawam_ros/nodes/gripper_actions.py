"""Goals of a real gripper on their way: franka_msgs Move and Grasp, or control_msgs GripperCommand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node

from lawam_ros.contract.real import FRANKA_GRIPPER, RealGripper
from lawam_ros.control.gripper_goals import CancelGoal, GripperGoal, GripperGoals
from lawam_ros.nodes.robot_interfaces import RobotInterfaces

_LOOK_S = 0.04


@dataclass(frozen=True)
class GripperWish:
    """running: the arm carries out a plan. Openings in m."""

    running: bool
    commanded_m: float
    measured_m: float


class GripperActions:
    """Lives in the thread that spins ``node``: looks at the wish, sends goals and hears of their ends there."""

    def __init__(
        self, node: Node, interfaces: RobotInterfaces, gripper: RealGripper, opening_max_m: float, wish: Callable[[], GripperWish | None]
    ) -> None:
        """wish: what is commanded now, None while nothing is known."""
        self._node = node
        self._interfaces = interfaces
        self._gripper = gripper
        self._opening_max_m = opening_max_m
        self._wish = wish
        self._goals = GripperGoals(gripper, opening_max_m)
        self._handles: dict[GripperGoal, Any] = {}
        self._cancelled: set[GripperGoal] = set()
        if gripper.kind == FRANKA_GRIPPER:
            self._opens = ActionClient(node, interfaces.move, f"{gripper.action}/move")
            self._closes = ActionClient(node, interfaces.grasp, f"{gripper.action}/grasp")
        else:
            self._opens = self._closes = ActionClient(node, interfaces.gripper_command, gripper.action)
        self._timer = node.create_timer(_LOOK_S, self._look)
        self.sent = 0

    @property
    def trouble(self) -> str:
        return self._goals.trouble

    def _look(self) -> None:
        wish, now_ns = self._wish(), self._node.get_clock().now().nanoseconds
        if wish is None:
            return
        order = self._goals.wanted(wish.commanded_m, now_ns) if wish.running else self._goals.waiting(now_ns)
        if isinstance(order, GripperGoal):
            self._send(order)
        elif isinstance(order, CancelGoal):
            self._cancel(order.goal)

    def _send(self, goal: GripperGoal) -> None:
        client = self._closes if goal.closing else self._opens
        self.sent += 1
        if client.server_is_ready():  # a goal to nobody runs into its timeout, which is reported
            client.send_goal_async(self._message(goal)).add_done_callback(lambda future: self._answered(goal, future.result()))

    def _message(self, goal: GripperGoal) -> Any:
        gripper = self._gripper
        if gripper.kind != FRANKA_GRIPPER:
            message = self._interfaces.gripper_command.Goal()
            message.command.position = float(goal.opening_m * gripper.position_per_opening)
            message.command.max_effort = float(gripper.force_n)
            return message
        if not goal.closing:
            return self._interfaces.move.Goal(width=float(goal.opening_m), speed=float(gripper.speed_m_s))
        message = self._interfaces.grasp.Goal(width=float(goal.opening_m), speed=float(gripper.speed_m_s), force=float(gripper.force_n))
        # The size of the thing is not known: whatever stops the fingers has been grasped.
        message.epsilon.inner = message.epsilon.outer = float(self._opening_max_m)
        return message

    def _answered(self, goal: GripperGoal, handle: Any) -> None:
        if not handle.accepted:
            self._ended(goal, reached=False)
            return
        self._handles[goal] = handle
        handle.get_result_async().add_done_callback(lambda future: self._result(goal, future.result()))
        if goal in self._cancelled:
            handle.cancel_goal_async()

    def _cancel(self, goal: GripperGoal) -> None:
        self._cancelled.add(goal)
        if goal in self._handles:
            self._handles[goal].cancel_goal_async()

    def _result(self, goal: GripperGoal, reply: Any) -> None:
        result = reply.result
        reached = result.success if self._gripper.kind == FRANKA_GRIPPER else result.reached_goal or result.stalled
        self._ended(goal, bool(reached))

    def _ended(self, goal: GripperGoal, reached: bool) -> None:
        self._handles.pop(goal, None)
        self._cancelled.discard(goal)
        wish = self._wish()
        before = self._goals.trouble
        self._goals.finished(goal, reached, self._opening_max_m if wish is None else wish.measured_m)
        if self._goals.trouble != before and self._goals.trouble:
            self._node.get_logger().warning(self._goals.trouble)
