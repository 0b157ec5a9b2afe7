"""Cases of ``test_real_robot.py``, each run in a process that has the interfaces of a real robot: ``python -m real_robot_cases NAME``.

The executor node drives a ``MockDriver`` over real topics, services and actions. Only the guard that keeps the ROS wheels away from
hardware is taken out: the domain is a reserved one on this machine.
"""

import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import rclpy
from mock_driver import ANSWER, HANG, REFLEX, REFUSE, SPAWN, DriverProcess
from rclpy.signals import SignalHandlerOptions

from lawam_ros.cli.domain import ReservedDomain
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.kinematics import Chain
from lawam_ros.nodes import hardware, robot_link
from lawam_ros.nodes.chunk_executor import ChunkExecutorNode
from lawam_ros.nodes.message_executor import MessageExecutor
from lawam_ros.nodes.priority import EXECUTOR, lock_memory, raise_priority
from lawam_ros.nodes.run_client import RunClient

TASK, ROBOT = "franka_pick_place", "franka_fr3"


VOID = ("joint_states_lost", "controller_silent", "commands_late")
"""What the executor says when this machine does not let a driver or an executor run in time. No case is about that."""
ATTEMPTS = 3


class MachineTooBusy(Exception):
    """The case says nothing; try again."""


class Bench:
    """Node, driver (in its own process) and client."""

    def __init__(self, overrides, prepare):
        self.contract = load_contract(TASK, ROBOT, overrides)
        self._domain = ReservedDomain()
        self._process = DriverProcess(ctx=SPAWN)
        self._process.start()
        self.driver = self._process.MockDriver(self.contract.robot, self._domain.number)
        prepare(self.driver)
        values = [f"task:={TASK}", f"robot:={ROBOT}", "hardware:=real", "instruction:=move", f"overrides:='{';'.join(overrides)}'"]
        arguments = [part for value in values for part in ("-p", value)]
        rclpy.init(args=["--ros-args", *arguments], domain_id=self._domain.number, signal_handler_options=SignalHandlerOptions.NO)
        self.node = ChunkExecutorNode()
        self._executor = MessageExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        self.client = RunClient(self.contract, "", self._domain.number, lambda _: None)
        self._sequence = 0

    def close(self):
        self.node.close()
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self.client.close()
        rclpy.try_shutdown()
        self.driver.close()
        self._process.shutdown()
        self._domain.release()

    @property
    def state(self):
        return self.client.status.state if self.client.status else ""

    @property
    def reason(self):
        return self.client.status.reason if self.client.status else ""

    def wait(self, condition, seconds, what):
        """Seconds until the condition held."""
        started = time.monotonic()
        while not condition():
            if self.reason in VOID:
                raise MachineTooBusy(self.reason)
            assert time.monotonic() - started < seconds, f"waited {seconds} s for {what}; last status {self.client.status}"
            time.sleep(0.01)
        took_s = time.monotonic() - started
        print(f"{what}: {took_s * 1e3:.0f} ms", flush=True)
        return took_s

    def latched(self, reason):
        self.wait(lambda: self.state == "LATCHED", 5, "LATCHED")
        if self.reason in VOID:
            raise MachineTooBusy(self.reason)
        assert self.reason == reason

    def move(self, distance_m=0.2, gripper_m=0.08):
        self.wait(lambda: self.state == "HOLD", 20, "HOLD")
        self.client.publish_chunk(self.chunk(distance_m, gripper_m))
        self.wait(lambda: self.state == "RUN", 2, "RUN")
        self.wait(lambda: np.abs(self.driver.motion()[1]).max() > 0.05, 2, "motion")

    def chunk(self, distance_m, gripper_m):
        """To the side of where the arm stands, observed now."""
        arm, policy = self.contract.robot.arms[0], self.contract.task.policy
        pose = self.pose()
        way = np.arange(1, policy.steps + 1) / policy.steps * distance_m
        rows = [[pose.position_m[0], pose.position_m[1] + y, pose.position_m[2], *pose.quat_xyzw, gripper_m] for y in way]
        self._sequence += 1
        return ActionChunk(
            stamp_ns=time.time_ns(),
            frame_id=self.contract.robot.base_frame,
            components=tuple(f"{arm.name}/{part}" for part in CARTESIAN_COMPONENTS),
            values=np.array(rows),
            time_from_start_s=(np.arange(len(rows)) + policy.action_offset_steps) / policy.action_hz,
            sequence=self._sequence,
            epoch=self.client.status.epoch,
            contract_crc=self.contract.crc,
        )

    def pose(self):
        arm = self.contract.robot.arms[0]
        urdf = (urdf_dir() / self.contract.robot.urdf).read_text(encoding="utf-8")
        return Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame).pose(self.driver.motion()[0])

    def nothing_is_sent(self, seconds=0.3):
        time.sleep(0.05)
        sent = len(self.driver.seen("windows"))
        time.sleep(seconds)
        assert len(self.driver.seen("windows")) == sent


@contextmanager
def bench(*overrides, prepare=lambda driver: None):
    hardware.refuse_ros_wheels = lambda: None
    robot_link._RECOVERY_S = 1.5
    made = Bench(list(overrides), prepare)
    try:
        yield made
        velocity, acceleration = made.driver.worst_shares()
        assert velocity <= 1.001
        assert acceleration <= 1.001
    finally:
        made.close()


def a_chunk_is_carried_out_through_windows():
    with bench() as real:
        before = real.pose()
        real.move(0.15)
        real.wait(lambda: real.state == "HOLD" and np.abs(real.driver.motion()[1]).max() < 1e-6, 5, "the end of the chunk")
        assert np.linalg.norm(real.pose().position_m - before.position_m - [0.0, 0.15, 0.0]) < 2e-3
        times = [sent for sent, _ in real.driver.seen("windows")]
        rate_hz = (len(times) - 1) / (times[-1] - times[0])
        print(f"{rate_hz:.1f} windows per second", flush=True)
        assert 40 < rate_hz < 52
        assert all(names == list(real.contract.robot.joint_names) for _, names in real.driver.seen("windows"))
        assert real.client.status.initialised_from == "measured"


def a_controller_that_goes_inactive():
    with bench() as real:
        real.move()
        real.driver.switch_off()
        took_s = real.wait(lambda: real.state in ("STOP", "LATCHED"), 2, "the stop")
        assert took_s < 0.1
        real.latched("controller_inactive")
        real.nothing_is_sent()
        done, text = real.client.trigger("chunk_executor/reset")
        assert not done
        assert "inactive" in text
        assert real.client.trigger("chunk_executor/recover") == (True, "recovered; reset starts from the measured pose")
        real.nothing_is_sent()
        assert real.client.trigger("chunk_executor/reset")[0]
        real.wait(lambda: real.client.status.initialised_from == "measured" and real.state == "HOLD", 2, "a start from the measured pose")
        real.move(-0.1)


def a_reflex_and_the_order_of_its_recovery():
    with bench() as real:
        real.move()
        real.driver.tell(mode=REFLEX)
        real.wait(lambda: real.state in ("STOP", "LATCHED"), 2, "the stop")
        real.driver.switch_off(REFLEX)
        real.latched("robot_reflex")
        real.driver.tell(calls=[])
        assert real.client.trigger("chunk_executor/recover")[0]
        assert real.driver.seen("calls") == ["error_recovery", "FrankaHardwareInterface active", "switch_controller"]
        real.wait(lambda: real.client.trigger("chunk_executor/reset")[0], 2, "reset")


def a_recovery_that_is_refused_or_hangs():
    with bench() as real:
        real.wait(lambda: real.state == "HOLD", 20, "HOLD")
        done, text = real.client.trigger("chunk_executor/recover")
        assert (done, text) == (False, "expected LATCHED or INACTIVE to recover, the executor is in HOLD")
        real.driver.switch_off()
        real.latched("controller_inactive")
        real.driver.tell(recovery=REFUSE)
        assert real.client.trigger("chunk_executor/recover") == (
            False,
            "error recovery: expected action_server/error_recovery to take a goal, it refused",
        )
        real.driver.tell(recovery=HANG)
        assert "the result of action_server/error_recovery within 1.5 s; none came" in real.client.trigger("chunk_executor/recover")[1]
        real.driver.tell(recovery=ANSWER, manager=REFUSE)
        assert "hardware: expected FrankaHardwareInterface to become active" in real.client.trigger("chunk_executor/recover")[1]
        real.driver.tell(manager=HANG)
        assert "set_hardware_component_state within 1.5 s; none came" in real.client.trigger("chunk_executor/recover")[1]
        assert real.state == "LATCHED"
        assert not real.client.trigger("chunk_executor/reset")[0]
        real.driver.tell(manager=ANSWER)
        real.wait(lambda: real.client.trigger("chunk_executor/recover")[0], 5, "recovery")


def a_controller_that_refuses_windows():
    with bench() as real:
        real.move(0.3)
        real.driver.tell(obeys=False)
        real.latched("controller_refuses")
        real.nothing_is_sent()


def a_forwarding_controller_is_refused_at_configure():
    def forwarding(driver):
        driver.tell(kind="forward_command_controller/ForwardCommandController")

    with bench(prepare=forwarding) as real:
        real.wait(real.node.finished.is_set, 20, "the end of the node")
        assert real.node.exit_code == 2
        assert real.driver.seen("windows") == []


def a_controller_manager_that_hangs_is_waited_for():
    def hanging(driver):
        driver.tell(manager=HANG)

    with bench(prepare=hanging) as real:
        real.wait(lambda: "list_controllers" in real.driver.seen("calls"), 20, "the first question")
        time.sleep(1.5)
        assert not real.node.finished.is_set()
        assert real.driver.seen("windows") == []
        real.driver.tell(manager=ANSWER)
        real.wait(lambda: real.state == "HOLD", 20, "HOLD")


def limits_of_the_robots_own_description():
    def narrow(driver):
        urdf = (urdf_dir() / f"{ROBOT}.urdf").read_text(encoding="utf-8")
        driver.describe(urdf.replace('lower="-1.7837" upper="1.7837" velocity="2.62"', 'lower="-0.35" upper="0.4" velocity="1.0"'))

    with bench(prepare=narrow) as real:
        real.move(0.1)
        limits = real.node._shared.core._robot.arms[0].limits
        arm = real.contract.robot.arms[0]
        np.testing.assert_allclose(limits.lower_rad[1], -0.35 + arm.position_margin_rad)
        np.testing.assert_allclose(limits.velocity_rad_s[1], 0.3)


def the_gripper_grasps_once_and_opens_again():
    with bench() as real:
        real.move(0.05, gripper_m=0.0)
        real.wait(lambda: len(real.driver.seen("goals")) == 1, 3, "a grasp")
        assert real.driver.seen("goals") == [{"grasp": 0.0, "speed": 0.1, "force": 20.0, "epsilon": (0.08, 0.08)}]
        real.wait(lambda: real.state == "HOLD", 5, "the end of the chunk")
        real.move(0.05, gripper_m=0.08)
        real.wait(lambda: len(real.driver.seen("goals")) == 2, 3, "a move")
        assert real.driver.seen("goals")[1] == {"move": 0.08, "speed": 0.1}


def a_gripper_that_hangs_is_reported_and_tried_once_more():
    def hanging(driver):
        driver.tell(gripper=HANG)

    with bench("robot.real.gripper.timeout_s=0.4", prepare=hanging) as real:
        real.move(0.1, gripper_m=0.0)
        real.wait(lambda: "trying once more" in real.node._link.warning(), 3, "the report")
        real.wait(lambda: len(real.driver.seen("goals")) == 2, 2, "the second try")
        real.wait(lambda: real.driver.seen("cancelled") >= 1, 2, "the first one's end")
        assert "no result came within 0.4 s" in real.node.warning()


def a_gripper_that_refuses_is_tried_twice():
    def refusing(driver):
        driver.tell(gripper=REFUSE)

    with bench(prepare=refusing) as real:
        real.move(0.1, gripper_m=0.0)
        real.wait(lambda: "given up" in real.node._link.warning(), 3, "the report")
        assert len(real.driver.seen("goals")) == 2


def a_gripper_with_gripper_command():
    with bench("robot.real.gripper.kind=gripper_command", "robot.real.gripper.action=franka_gripper/gripper_action") as real:
        real.move(0.05, gripper_m=0.0)
        real.wait(lambda: len(real.driver.seen("goals")) == 1, 3, "a goal")
        assert real.driver.seen("goals") == [{"position": 0.0, "effort": 20.0}]
        real.wait(lambda: real.state == "HOLD", 5, "the end of the chunk")
        real.move(0.05, gripper_m=0.08)
        real.wait(lambda: len(real.driver.seen("goals")) == 2, 3, "the next")
        assert real.driver.seen("goals")[1] == {"position": 0.04, "effort": 20.0}


def run_case(name):
    """The case, again when the machine was too busy for it."""
    for attempt in range(ATTEMPTS):
        try:
            return globals()[name]()
        except MachineTooBusy as busy:
            print(f"attempt {attempt + 1} says nothing: {busy}", flush=True)
            time.sleep(1.0)
    raise AssertionError(f"the machine was too busy {ATTEMPTS} times")


if __name__ == "__main__":
    raise_priority(EXECUTOR)
    lock_memory()
    run_case(sys.argv[1])
