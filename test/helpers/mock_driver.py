"""What franka_ros2 and ros2_control show of a real FR3, for tests: a driver that answers, refuses and hangs as it is told.

Needs the packages of ``interface_packages``. The arm does exactly as its trajectory controller says. In a process of its own, started by
``DriverProcess``, because a driver in the process of the executor would hold it up.
"""

import multiprocessing
import sys
import threading
import time
from multiprocessing.managers import BaseManager

import numpy as np
import rclpy
from control_msgs.action import GripperCommand
from control_msgs.msg import JointTrajectoryControllerState
from controller_manager_msgs.msg import ControllerManagerActivity, ControllerState, NamedLifecycleState
from controller_manager_msgs.srv import ListControllers, SetHardwareComponentState, SwitchController
from franka_msgs.action import ErrorRecovery, Grasp, Move
from franka_msgs.msg import FrankaRobotState
from lifecycle_msgs.msg import State
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_controller import TrajectoryController
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lawam_ros.contract.controllers import JOINT_TRAJECTORY
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.priority import EXECUTOR, lock_memory, raise_priority

ANSWER, REFUSE, HANG = "answer", "refuse", "hang"
IDLE, MOVE, REFLEX = 1, 2, 4
CYCLE_S = 0.008


class MockDriver:
    """``tell`` sets and ``seen`` reads: manager, recovery, gripper (what becomes of calls: ANSWER, REFUSE, HANG), obeys (windows are
    followed), kind (type of the controller), mode (of the robot), calls and goals (in order), cancelled, windows (arrival in s, names)."""

    def __init__(self, robot, domain):
        raise_priority(EXECUTOR)
        lock_memory()
        sys.setswitchinterval(0.0005)  # joint states must not wait for the threads that answer calls
        self.robot, self.real = robot, robot.real
        self.limits = stacked_limits([arm.limits for arm in robot.arms])
        self.manager = self.recovery = self.gripper = ANSWER
        self.obeys = True
        self.kind = JOINT_TRAJECTORY
        self.active = True
        self.mode = MOVE
        self.opening_m = 0.08
        self.calls, self.goals, self.cancelled = [], [], 0
        self.windows, self.desired = [], []
        self.controller = TrajectoryController(robot.arms[0].home_rad)
        self._lock = threading.Lock()
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        node = self.node = rclpy.create_node("driver", context=self._context)
        watch, gripper = self.real.watch, self.real.gripper.action.split("/")[0]
        group = ReentrantCallbackGroup()
        self._described = node.create_publisher(String, "robot_description", qos.LATCHED)
        self.describe((urdf_dir() / robot.urdf).read_text(encoding="utf-8"))
        self._joints = node.create_publisher(JointState, self.real.joint_states[0], qos.REFERENCE)
        self._fingers = node.create_publisher(JointState, self.real.joint_states[1], qos.REFERENCE)
        self._state = node.create_publisher(JointTrajectoryControllerState, watch.controller_state, qos.REFERENCE)
        self._robot_state = node.create_publisher(FrankaRobotState, watch.robot_state, qos.REFERENCE)
        self._activity = node.create_publisher(ControllerManagerActivity, f"{watch.controller_manager}/activity", qos.LATCHED)
        # Apart from the calls, some of which hang: an executor of several threads is busy for as long as one of them is.
        ear = self._ear = rclpy.create_node("driver_windows", context=self._context)
        ear.create_subscription(JointTrajectory, self.real.command_topic, self._on_window, qos.WINDOW)
        for kind, name, answer in (
            (ListControllers, "list_controllers", self._list),
            (SwitchController, "switch_controller", self._switch),
            (SetHardwareComponentState, "set_hardware_component_state", self._set_hardware),
        ):
            node.create_service(kind, f"{watch.controller_manager}/{name}", answer, callback_group=group)
        self._servers = [
            ActionServer(
                node,
                kind,
                name,
                execute,
                callback_group=group,
                goal_callback=accept,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            )
            for kind, name, execute, accept in (
                (ErrorRecovery, watch.error_recovery, self._recover, self._takes_recovery),
                (Move, f"{gripper}/move", self._move, self._takes_goal),
                (Grasp, f"{gripper}/grasp", self._move, self._takes_goal),
                (GripperCommand, f"{gripper}/gripper_action", self._move, self._takes_goal),
            )
        ]
        self.say_activity()
        self._executors = MultiThreadedExecutor(num_threads=4, context=self._context), SingleThreadedExecutor(context=self._context)
        for executor, spun in zip(self._executors, (node, ear), strict=True):
            executor.add_node(spun)
        self._running = threading.Event()
        self._running.set()
        self._threads = [
            threading.Thread(target=loop, daemon=True) for loop in (*(executor.spin for executor in self._executors), self._cycles)
        ]
        for thread in self._threads:
            thread.start()

    def tell(self, **values):
        for name, value in values.items():
            setattr(self, name, value)

    def seen(self, name):
        return getattr(self, name)

    def motion(self):
        """Desired positions and velocities of the joints now."""
        return self.controller.desired[:2]

    def close(self):
        self.manager = self.recovery = self.gripper = ANSWER  # what hangs is let go
        time.sleep(0.1)
        self._running.clear()
        for executor in self._executors:
            executor.shutdown(timeout_sec=1.0)
        for thread in self._threads:
            thread.join(timeout=1.0)
        self.node.destroy_node()
        self._ear.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def describe(self, urdf):
        self._described.publish(String(data=urdf))

    def say_activity(self):
        state = State(id=State.PRIMARY_STATE_ACTIVE if self.active else State.PRIMARY_STATE_INACTIVE)
        self._activity.publish(ControllerManagerActivity(controllers=[NamedLifecycleState(name=self.real.controller, state=state)]))

    def switch_off(self, mode=MOVE):
        """The controller goes inactive, and the robot says why."""
        with self._lock:
            self.mode, self.active = mode, False
            self.controller.take = lambda *_: None
        self.say_activity()

    def worst_shares(self):
        """Largest shares of the velocity and acceleration limits that the arm was asked for."""
        with self._lock:
            velocities, accelerations = (np.array([state[i] for state in self.desired]) for i in (1, 2))
        return (
            float((np.abs(velocities) / self.limits.velocity_rad_s).max()),
            float((np.abs(accelerations) / self.limits.acceleration_rad_s2).max()),
        )

    def _cycles(self):
        deadline = time.monotonic()
        while self._running.is_set():
            self._cycle()
            deadline = max(deadline + CYCLE_S, time.monotonic())
            time.sleep(max(0.0, deadline - time.monotonic()))

    def _cycle(self):
        now_ns = self.node.get_clock().now().nanoseconds
        with self._lock:
            self.controller.update(now_ns)
            q, v, _ = self.controller.desired
            self.desired.append(self.controller.desired)
            active, mode = self.active, self.mode
        names = list(self.robot.joint_names)
        self._joints.publish(
            messages.joint_state_to_message(now_ns, dict(zip(names, q.tolist(), strict=True)), dict(zip(names, v.tolist(), strict=True)))
        )
        fingers = dict.fromkeys(self.robot.arms[0].gripper.joints, self.opening_m / 2)
        self._fingers.publish(messages.joint_state_to_message(now_ns, fingers, dict.fromkeys(fingers, 0.0)))
        self._robot_state.publish(FrankaRobotState(robot_mode=int(mode)))
        if active:
            point = JointTrajectoryPoint(positions=q.tolist())
            self._state.publish(JointTrajectoryControllerState(header=messages.header(now_ns), joint_names=names, reference=point))

    def _on_window(self, message):
        start_ns = messages.nanoseconds(message.header.stamp)
        stamps = [start_ns + messages.nanoseconds(point.time_from_start) for point in message.points]
        rows = [np.array([getattr(point, key) for point in message.points]) for key in ("positions", "velocities", "accelerations")]
        with self._lock:
            self.windows.append((time.monotonic(), list(message.joint_names)))
            if self.obeys and self.active:
                self.controller.take(stamps, *rows)

    def _hangs(self, what):
        while getattr(self, what) == HANG:
            time.sleep(0.01)

    def _list(self, request, reply):
        self.calls.append("list_controllers")
        self._hangs("manager")
        reply.controller = [ControllerState(name=self.real.controller, state="active", type=self.kind)]
        return reply

    def _switch(self, request, reply):
        self.calls.append("switch_controller")
        self._hangs("manager")
        reply.ok, reply.message = self.manager == ANSWER, "" if self.manager == ANSWER else "interface is claimed"
        if reply.ok:
            if list(request.deactivate_controllers):
                self.active = False
                self.say_activity()
            with self._lock:
                self.controller = TrajectoryController(self.controller.desired[0])
                self.active = True
            self.say_activity()
        return reply

    def _set_hardware(self, request, reply):
        self.calls.append(f"{request.name} {request.target_state.label}")
        self._hangs("manager")
        reply.ok = self.manager == ANSWER
        return reply

    def _takes_recovery(self, _):
        self.calls.append("error_recovery")
        return GoalResponse.REJECT if self.recovery == REFUSE else GoalResponse.ACCEPT

    def _recover(self, handle):
        self._hangs("recovery")
        self.mode = IDLE
        handle.succeed()
        return ErrorRecovery.Result()

    def _takes_goal(self, request):
        self.goals.append(_described(request))
        return GoalResponse.REJECT if self.gripper == REFUSE else GoalResponse.ACCEPT

    def _move(self, handle):
        while self.gripper == HANG:
            time.sleep(0.01)
            if handle.is_cancel_requested:
                self.cancelled += 1
                handle.canceled()
                return _result_of(handle.request, False)
        self.opening_m = 0.03 if not isinstance(handle.request, Move.Goal) else float(handle.request.width)
        handle.succeed()
        return _result_of(handle.request, True)


def _result_of(goal, reached):
    if isinstance(goal, Move.Goal):
        return Move.Result(success=reached)
    if isinstance(goal, Grasp.Goal):
        return Grasp.Result(success=reached)
    return GripperCommand.Result(reached_goal=reached)


def _described(goal):
    """A goal as plain values."""
    if isinstance(goal, Move.Goal):
        return {"move": goal.width, "speed": goal.speed}
    if isinstance(goal, Grasp.Goal):
        return {"grasp": goal.width, "speed": goal.speed, "force": goal.force, "epsilon": (goal.epsilon.inner, goal.epsilon.outer)}
    return {"position": goal.command.position, "effort": goal.command.max_effort}


class DriverProcess(BaseManager):
    """``with DriverProcess(ctx=SPAWN) as process: process.MockDriver(robot, domain)``."""


SPAWN = multiprocessing.get_context("spawn")
DriverProcess.register("MockDriver", MockDriver)
