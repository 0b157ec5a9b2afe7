"""Executor and bridge as processes of their own, on the path of the real robot, with the mock behind the bridge.

Both arms move, and both stop whatever fails: the bridge, a call to the robot, the stream of one arm, the executor.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from two_armed import URDF

from lawam_ros.cli.domain import ReservedDomain
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.message_executor import MessageExecutor
from lawam_ros.nodes.run_client import RunClient

TASK = "x1_towel_fold"
BUDGET_S = 0.3
OVERRIDES = [f"robot.{name}={BUDGET_S}" for name in ("bridge.command_age_s", "bridge.state_age_s", "budgets.joint_state_age_s")]
"""On a machine that others use as well; the budgets themselves are tested on stepped time."""


EXECUTOR = ("autostart:=false", "instruction:=fold", "hardware:=bridge_mock", "discovery_s:=0.0")
HEARD_S = 0.15
"""From a reaction to the status that tells of it: transport on a busy machine."""


class Cell:
    """Both processes, what is heard of them, and a client that plays the policy."""

    def __init__(self):
        self.contract = load_contract(TASK, None, OVERRIDES)
        self._domain = ReservedDomain()
        self.commands, self.violations, self.joints, self.bridge = [], [], [], {}
        self._checker = LimitChecker(stacked_limits([arm.limits for arm in self.contract.robot.arms]))
        self._sequence, self._way_m = 0, 0.12
        self._context = Context()
        rclpy.init(context=self._context, domain_id=self._domain.number, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("ears", context=self._context)
        self._node.create_subscription(JointState, "joint_states", self._on_joints, qos.SENSOR)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        self._executor = MessageExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        self.client = RunClient(self.contract, "", self._domain.number, self._on_command)
        self.processes = {"chunk_executor": self._started("lawam_ros.nodes.chunk_executor", *EXECUTOR)}

    def start_bridge(self, *parameters):
        self.processes["x1_bridge"] = self._started("mock_x1_bridge", *parameters)

    def _started(self, module, *parameters):
        values = [f"task:={TASK}", f"overrides:='{';'.join(OVERRIDES)}'", *parameters]
        arguments = [part for value in values for part in ("-p", value)]
        path = os.pathsep.join([str(Path(__file__).parents[1] / "helpers"), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "ROS_DOMAIN_ID": str(self._domain.number), "PYTHONPATH": path}
        command = [sys.executable, "-m", module, "--ros-args", *arguments]
        return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, text=True)

    def order(self, text):
        """To the mock."""
        self.processes["x1_bridge"].stdin.write(text + "\n")
        self.processes["x1_bridge"].stdin.flush()

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait(10)
            process.stdin.close()
        self.client.close()
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self._domain.release()

    def _on_command(self, command):
        self.commands.append(command)
        self.violations += self._checker.add(
            command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2
        )

    def _on_joints(self, message):
        positions = messages.joint_positions(message)
        self.joints.append(np.array([positions[name] for name in self.contract.robot.joint_names]))

    def _on_diagnostics(self, message):
        for status in message.status:
            if status.name == "x1_bridge":
                self.bridge = messages.values_by_key(status)

    def told(self, folder):
        """What the mock says of its commands."""
        file = folder / "told.json"
        self.order(f"measure {file}")
        self.wait(lambda: file.is_file() and file.read_text().endswith("}"), 5.0, "the mock's word")
        return json.loads(file.read_text())

    @property
    def state(self):
        return self.client.status.state if self.client.status else ""

    @property
    def resting(self):
        return not np.any(self.commands[-1].velocities_rad_s)

    def wait(self, condition, seconds, what):
        """Seconds until the condition held."""
        started_s = time.monotonic()
        while not condition():
            assert time.monotonic() - started_s < seconds, f"waited {seconds} s for {what}; {self.client.status}; {self.bridge}"
            time.sleep(0.002)
        took_s = time.monotonic() - started_s
        print(f"{what}: {took_s * 1e3:.0f} ms")
        return took_s

    def move(self):
        """Both arms, for a second or more; after a fault first what an operator does."""
        if self.state == "LATCHED":
            self.order("well")
            time.sleep(0.1)
            self.wait(lambda: self.client.trigger("chunk_executor/recover")[0], 20.0, "recovery")
            self.wait(lambda: self.client.trigger("chunk_executor/reset")[0], 5.0, "reset")
            assert self.client.status.initialised_from == "measured"
        self.wait(lambda: self.state == "HOLD" and self.bridge.get("state") == "FOLLOWING", 20.0, "the bridge to follow")
        stand = self.joints[-1]
        self._way_m = -self._way_m
        self.push(self._way_m)
        self.wait(lambda: min(np.abs(self.joints[-1] - stand).reshape(2, 6).max(axis=1)) > 0.02, 20.0, "motion of both arms")
        assert not self.resting and self.state == "RUN"

    def push(self, metres):
        """Both hands rise, or fall, by so much within the horizon."""
        self._sequence += 1
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
            sequence=self._sequence,
            epoch=self.client.status.epoch,
            contract_crc=self.contract.crc,
        )
        self.client.publish_chunk(chunk)


def stands(cell):
    """Whether both arms do, when the mock has settled."""
    cell.wait(lambda: cell.bridge.get("state") == "LATCHED", 5.0, "the bridge to latch")
    time.sleep(0.3)
    stand = cell.joints[-1]
    time.sleep(0.2)
    return np.abs(cell.joints[-1] - stand).max() < 1e-4


@pytest.fixture(scope="module")
def shared_cell():
    """What every fault but the last can be tried on, one after the other."""
    cell = Cell()
    yield cell
    cell.close()
    assert cell.violations == []


@pytest.fixture
def cell(shared_cell):
    """Both arms in motion."""
    cell = shared_cell
    if "x1_bridge" not in cell.processes:
        cell.start_bridge()
        cell.wait(lambda: cell.joints, 60.0, "joint states of the bridge")
        cell.wait(cell.client.configure_executor, 20.0, "configuration")
        cell.wait(cell.client.activate_executor, 20.0, "activation of the executor")
    cell.move()
    return cell


def test_without_a_bridge_the_executor_is_not_configured(shared_cell):
    assert not shared_cell.client.configure_executor()
    assert shared_cell.processes["chunk_executor"].poll() is None


def test_chunks_move_both_arms_of_the_robot_within_its_limits(cell, tmp_path):
    cell.wait(lambda: cell.state == "HOLD" and cell.resting, 5.0, "the end of the chunk")
    time.sleep(0.3)
    np.testing.assert_allclose(cell.joints[-1], cell.commands[-1].positions_rad, atol=1e-3)
    assert cell.bridge["dropped"] == "0", cell.bridge
    told = cell.told(tmp_path)
    assert told["velocity"] <= 1.001 and told["commands"] > 100, told


def test_a_bridge_that_stops_obeying_stops_the_executor(cell):
    assert cell.client.trigger("x1_bridge/stop")[0]
    assert cell.wait(lambda: cell.state in ("STOP", "LATCHED"), 1.0, "the stop") < 0.02 + 0.01 + HEARD_S
    assert stands(cell)
    assert (cell.client.status.reason, cell.bridge["reason"]) == ("controller_inactive", "stop_requested")
    done, why = cell.client.trigger("chunk_executor/reset")
    assert not done and "inactive" in why


def test_an_arm_that_refuses_stops_both(cell):
    cell.order("refuse right_arm")
    assert cell.wait(lambda: cell.state in ("STOP", "LATCHED"), 1.0, "the stop") < 3 * 0.01 + 0.02 + 0.01 + HEARD_S
    assert stands(cell)
    assert (cell.client.status.reason, cell.bridge["reason"]) == ("controller_inactive", "robot_refuses")


@pytest.mark.parametrize("arm", ["left_arm", "right_arm"])
def test_one_arm_that_falls_silent_stops_both(cell, arm, tmp_path):
    cell.order(f"silent {arm}")
    assert cell.wait(lambda: cell.state in ("STOP", "LATCHED"), 1.0, "the stop") < BUDGET_S + 0.01 + HEARD_S
    cell.wait(lambda: cell.state == "LATCHED" and cell.bridge["state"] == "LATCHED", 5.0, "both latched")
    assert cell.client.status.reason in ("joint_states_lost", "controller_inactive") and cell.bridge["reason"] == "robot_silent"
    assert cell.told(tmp_path)["last_step_rad"] < 1e-3
    assert not cell.client.trigger("chunk_executor/reset")[0]


def test_a_bridge_that_is_killed_stops_the_executor(cell):
    cell.processes["x1_bridge"].kill()
    assert cell.wait(lambda: cell.state in ("STOP", "LATCHED"), 1.0, "the stop") < BUDGET_S + 0.01 + HEARD_S
    cell.wait(lambda: cell.state == "LATCHED", 5.0, "LATCHED")
    assert cell.client.status.reason in ("joint_states_lost", "controller_silent")
    assert not cell.client.trigger("chunk_executor/reset")[0]


def test_an_executor_that_is_killed_stops_both_arms():
    cell = Cell()
    try:
        cell.start_bridge()
        cell.wait(lambda: cell.joints, 60.0, "joint states of the bridge")
        cell.wait(cell.client.configure_executor, 20.0, "configuration")
        cell.wait(cell.client.activate_executor, 20.0, "activation of the executor")
        cell.move()
        cell.processes["chunk_executor"].kill()
        cell.wait(lambda: cell.bridge.get("state") == "LATCHED", 20.0, "the bridge to latch")
        assert cell.bridge["reason"] == "commands_silent" and cell.bridge["dropped"] == "0"
        assert stands(cell)
    finally:
        cell.close()
