"""The executor's node in this process: what must hold between its threads, and how it ends when one of them fails."""

import gc
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from std_msgs.msg import Bool, Header
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.errors import EXIT_CRITERION_MISSED
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.ladder import State
from lawam_ros.nodes import messages
from lawam_ros.nodes.chunk_executor import ChunkExecutorNode
from lawam_ros.nodes.message_executor import MessageExecutor

ARGUMENTS = (
    "task:=franka_pick_place",
    "autostart:=false",
    "discovery_s:=0.0",
    "instruction:=move",
    "overrides:=robot.budgets.joint_state_age_s=0.5",
)


@pytest.fixture(autouse=True)
def interpreter_as_before():
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    gc.unfreeze()


@contextmanager
def spun_node(*arguments):
    rclpy.init(args=["--ros-args", *(part for value in arguments for part in ("-p", value))])
    made = ChunkExecutorNode()
    executor = MessageExecutor()
    executor.add_node(made)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        executor.shutdown(timeout_sec=5.0)
        thread.join(timeout=5.0)
        made.destroy_node()
        rclpy.try_shutdown()


@pytest.fixture
def node(monkeypatch):
    with spun_node(*ARGUMENTS) as made:
        made.trigger_configure()
        yield made
        monkeypatch.undo()


def wait(condition, what, seconds=20.0):
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, f"waited for {what}"
        time.sleep(0.005)


def measure(node):
    inputs = node._inputs
    if inputs is None:
        return  # the node is being closed, and this timer goes on until its executor ends
    robot = node._contract.robot
    names = [*robot.joint_names, *robot.arms[0].gripper.joints]
    positions = dict(zip(names, [*robot.arms[0].home_rad.tolist(), 0.02, 0.02], strict=True))
    stamp_ns = node.get_clock().now().nanoseconds
    inputs._on_joint_states(messages.joint_state_to_message(stamp_ns, positions, dict.fromkeys(names, 0.0)))


def activated(node):
    def active():
        measure(node)
        node.trigger_activate()
        return node._active

    wait(active, "activation")
    node.create_timer(0.01, lambda: measure(node))


def foreign_chunk(node):
    """Of another contract."""
    rows = np.tile([0.3, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.04], (24, 1))
    stamp_ns = node.get_clock().now().nanoseconds
    components = tuple(f"arm/{part}" for part in CARTESIAN_COMPONENTS)
    times_s = (np.arange(24) + 1) / 20.0
    return messages.chunk_to_message(ActionChunk(stamp_ns, "panda_link0", components, rows, times_s, sequence=1, epoch=1, contract_crc=0))


class Logger:
    """Notes what is said, and whether ticks could go on if the terminal stood still meanwhile."""

    def __init__(self, lock):
        self.lock = lock
        self.said = []

    def _say(self, text, **_):
        free = self.lock.acquire(timeout=5.0)
        if free:
            self.lock.release()
        self.said.append((text, free))

    info = warning = error = _say


def test_nothing_is_logged_while_the_ticks_wait(node, monkeypatch):
    activated(node)
    logger = Logger(node._shared.lock)
    monkeypatch.setattr(node, "get_logger", lambda: logger)
    node._inputs._on_chunk(foreign_chunk(node))
    node._inputs._on_chunk(JointTrajectory())
    monkeypatch.setattr(node, "_publishers_problem", lambda: "somebody else")
    node._watch_publishers()
    assert [text.split(":")[0] for text, _ in logger.said] == ["chunk 1 rejected", "bad message dropped", "somebody else"]
    assert all(free for _, free in logger.said)


def test_a_tick_that_raises_ends_the_node_without_waiting_for_rest(node, monkeypatch, capsys):
    activated(node)

    def broken(now_ns):
        raise RuntimeError("broken tick")

    monkeypatch.setattr(node._shared.core, "tick", broken)
    assert node.finished.wait(10.0)
    assert node.exit_code == EXIT_CRITERION_MISSED and "broken tick" in capsys.readouterr().err
    wait(lambda: not node._tick.alive, "the end of the tick thread")
    with pytest.raises(Exception, match="they have ended by an error"):
        node.stop()


def test_an_input_that_raises_ends_the_node_at_rest(node, monkeypatch):
    activated(node)

    def broken(pressed, now_ns):
        raise RuntimeError("broken input")

    monkeypatch.setattr(node._shared.core, "estop", broken)
    switch = node.create_publisher(Bool, "lawam/estop", 1)
    wait(lambda: switch.publish(Bool(data=True)) or node.finished.is_set(), "the end")
    assert node.exit_code == EXIT_CRITERION_MISSED
    node.stop()
    assert node._shared.core.status.state == State.INACTIVE


def test_ticks_go_on_while_the_last_word_is_delivered(node, monkeypatch):
    activated(node)
    waits = []
    monkeypatch.setattr(node._outputs.commands, "wait_for_all_acked", lambda timeout: waits.append(timeout.nanoseconds))
    node.stop()
    assert len(waits) > 5 and set(waits) == {0}, "rclpy holds the interpreter's lock for as long as it is told to wait"


def test_what_the_last_core_gave_is_forgotten_with_it(node):
    wait(lambda: node._shared.output is not None, "a tick")
    reply = node._requested(Trigger.Response(), State.STOP)
    assert not reply.success and reply.message.startswith("INACTIVE: ")
    node.trigger_cleanup()
    assert node._shared.core is None and node._shared.output is None
    for answer in (node._requested(Trigger.Response(), State.HOLD), node._reset(Trigger.Response()), node._recover(Trigger.Response())):
        assert not answer.success and "not configured" in answer.message
    assert node.report() == ("", {})
    node.trigger_configure()
    wait(lambda: node._shared.output is not None, "a tick of the new core")


def test_an_executor_that_starts_itself_lets_everybody_meet_the_policy_first():
    kept = [argument for argument in ARGUMENTS if not argument.startswith(("autostart", "discovery_s"))]
    with spun_node(*kept, "discovery_s:=1.0", "await_policy:=true") as node:
        wait(lambda: node._inputs is not None, "configuration")
        node.create_timer(0.01, lambda: measure(node))
        wait(lambda: node._last_refusal.startswith("no heartbeat of a policy on /lawam/heartbeat"), "a first try")
        assert not node._active
        heartbeat = node.create_publisher(Header, "lawam/heartbeat", 1)
        heard_s = time.monotonic()
        node.create_timer(0.1, lambda: heartbeat.publish(Header()))
        wait(lambda: node._active, "activation")
        assert time.monotonic() - heard_s >= 1.0
