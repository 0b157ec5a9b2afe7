"""Executor and bridge as processes of their own, the mock behind the bridge: both arms move, and stop when the executor is killed."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from two_armed import URDF

from lawam_ros.cli.domain import ReservedDomain
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.kinematics import Chain
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.run_client import RunClient

TASK = "x1_towel_fold"
OVERRIDES = ["robot.bridge.command_age_s=0.3", "robot.bridge.state_age_s=0.3", "robot.budgets.joint_state_age_s=0.3"]
"""On a machine that others use as well; the budgets themselves are tested on stepped time."""


class Cell:
    """Both processes, what is heard of them, and a client that plays the policy."""

    def __init__(self):
        self.contract = load_contract(TASK, None, OVERRIDES)
        self._domain = ReservedDomain()
        self.commands, self.joints, self.bridge = [], [], {}
        self._context = Context()
        rclpy.init(context=self._context, domain_id=self._domain.number, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("ears", context=self._context)
        self._node.create_subscription(JointState, "joint_states", self._on_joints, qos.SENSOR)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        self.client = RunClient(self.contract, "", self._domain.number, self.commands.append)
        self.processes = {name: self._started(name) for name in ("x1_bridge", "chunk_executor")}

    def _started(self, name):
        values = [f"task:={TASK}", f"overrides:='{';'.join(OVERRIDES)}'"]
        values += ["autostart:=false", "instruction:=fold"] if name == "chunk_executor" else []
        arguments = [part for value in values for part in ("-p", value)]
        command = [sys.executable, "-m", f"lawam_ros.nodes.{name}", "--ros-args", *arguments]
        return subprocess.Popen(command, env={**os.environ, "ROS_DOMAIN_ID": str(self._domain.number)})

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait(10)
        self.client.close()
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self._domain.release()

    def _on_joints(self, message):
        positions = messages.joint_positions(message)
        self.joints.append(np.array([positions[name] for name in self.contract.robot.joint_names]))

    def _on_diagnostics(self, message):
        for status in message.status:
            if status.name == "x1_bridge":
                self.bridge = messages.values_by_key(status)

    def wait(self, condition, seconds, what):
        deadline_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline_s, f"waited {seconds} s for {what}; {self.client.status}; {self.bridge}"
            time.sleep(0.005)

    def push(self, metres):
        """Both hands rise, or fall, by so much within the horizon."""
        policy = self.contract.task.policy
        share = np.linspace(1.0 / policy.steps, 1.0, policy.steps)
        tables = []
        for arm in self.contract.robot.arms:
            pose = Chain.from_urdf(URDF, arm.base_frame, arm.tcp_frame).pose(self.joints[-1][self.contract.robot.joint_slice(arm.name)])
            row = np.concatenate([pose.position_m, pose.quat_xyzw, [0.05]])
            table = np.repeat(row[None], policy.steps, axis=0)
            table[:, 2] += metres * share
            tables.append(table)
        chunk = ActionChunk(
            stamp_ns=time.time_ns(),
            frame_id=self.contract.robot.base_frame,
            components=tuple(f"{arm.name}/{part}" for arm in self.contract.robot.arms for part in CARTESIAN_COMPONENTS),
            values=np.concatenate(tables, axis=1),
            time_from_start_s=(np.arange(policy.steps) + policy.action_offset_steps) / policy.action_hz,
            sequence=len(self.commands) + 1,
            epoch=self.client.status.epoch,
            contract_crc=self.contract.crc,
        )
        self.client.publish_chunk(chunk)


@pytest.fixture
def cell():
    cell = Cell()
    yield cell
    cell.close()


def test_both_arms_move_through_the_bridge_and_stop_when_the_executor_is_killed(cell):
    cell.wait(lambda: cell.joints, 60.0, "joint states of the bridge")
    assert cell.client.configure_executor()
    cell.wait(cell.client.activate_executor, 20.0, "activation of the executor")
    cell.wait(lambda: cell.bridge.get("state") == "FOLLOWING", 20.0, "the bridge to follow")
    home = cell.joints[-1]
    cell.push(0.12)
    cell.wait(lambda: np.abs(cell.joints[-1] - home).max() > 0.02, 20.0, "motion of the robot")
    moved = np.abs(cell.joints[-1] - home)
    assert moved[:6].max() > 0.005 and moved[6:].max() > 0.005
    assert np.abs(cell.commands[-1].velocities_rad_s).max() > 0.02
    cell.processes["chunk_executor"].kill()
    cell.wait(lambda: cell.bridge.get("state") == "LATCHED", 20.0, "the bridge to latch")
    assert cell.bridge["reason"] == "commands_silent" and cell.bridge["dropped"] == "0"
    time.sleep(0.3)
    stand = cell.joints[-1]
    time.sleep(0.3)
    np.testing.assert_allclose(cell.joints[-1], stand, atol=1e-4)
