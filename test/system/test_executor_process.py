"""Faults around the executor's process: operator, second publishers, silence, stalls and signals, each with the time to its detection.

Every test also demands that the set-points kept all limits, from the motion through the fault to the end.
"""

import signal
import time

import numpy as np
import pytest
from executor_process import end, executor_process
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.nodes import qos

SWITCHES = ("robot.safety.deadman=required", "robot.safety.estop=required")
HEARD_S = 0.1
"""From the publication to the status that tells of the reaction: mostly transport on a busy machine, the executor takes a tick."""


def stopped(arm):
    return arm.state in ("STOP", "LATCHED")


def reset(arm):
    return arm.client.trigger("chunk_executor/reset")


def test_operator_switches_stop_the_arm_and_refuse_its_start():
    with executor_process(SWITCHES) as arm:
        arm.client.configure_executor()
        assert not arm.client.activate_executor(), "nobody has said anything"
        arm.held, arm.pressed = True, True
        time.sleep(0.2)
        assert not arm.client.activate_executor(), "the emergency stop is pressed"
        arm.pressed = False
        arm.move()
        for change, reason, limit_s in (
            ({"pressed": True}, "estop", 0.05 + HEARD_S),
            ({"held": False}, "deadman_released", 0.05 + HEARD_S),
            ({"pressed": None}, "estop_lost", 0.2 + HEARD_S),
            ({"held": None}, "deadman_lost", 0.2 + HEARD_S),
        ):
            vars(arm).update(change)
            assert arm.wait(lambda: stopped(arm), 1.0, reason) < limit_s
            arm.wait(lambda: arm.state == "LATCHED", 1.0, "LATCHED")
            assert arm.reason == reason and arm.resting
            assert not reset(arm)[0]
            arm.held, arm.pressed = True, False
            time.sleep(0.15)
            assert arm.state == "LATCHED"
            assert reset(arm) == (True, "reset")
            arm.push(-0.15)


def test_an_emergency_stop_that_was_pressed_before_the_executor_came_is_obeyed():
    with executor_process() as arm:
        switch = arm.node.create_publisher(Bool, "lawam/estop", qos.LATCHED)
        switch.publish(Bool(data=True))
        arm.client.configure_executor()
        time.sleep(0.5)
        assert not arm.client.activate_executor()
        switch.publish(Bool(data=False))
        arm.move()
        switch.publish(Bool(data=True))
        assert arm.wait(lambda: stopped(arm), 1.0, "estop") < HEARD_S


def test_a_second_publisher_of_set_points_stops_the_arm_within_two_seconds():
    with executor_process() as arm:
        arm.move()
        intruder = arm.node.create_publisher(JointTrajectory, arm.contract.robot.sim_command_topic, qos.COMMAND)
        assert arm.wait(lambda: stopped(arm), 4.0, "STOP") < 2.0
        arm.wait(lambda: arm.state == "LATCHED", 1.0, "LATCHED")
        assert arm.reason == "second_command_publisher"
        done, why = reset(arm)
        assert not done and "/hands" in why
        arm.node.destroy_publisher(intruder)
        arm.wait(lambda: reset(arm)[0], 3.0, "a reset once it is gone")


@pytest.mark.parametrize("reaction", ["warn", "stop"])
def test_a_second_publisher_of_chunks_is_named_or_stops_the_arm(reaction):
    with executor_process((f"robot.safety.second_chunk_publisher={reaction}",)) as arm:
        arm.move()
        arm.node.create_publisher(JointTrajectory, "lawam/action_chunk", qos.CHUNK)
        if reaction == "stop":
            assert arm.wait(lambda: stopped(arm), 4.0, "STOP") < 2.0
            assert arm.reason == "second_chunk_publisher"
            assert not reset(arm)[0]
        named = arm.wait(lambda: "found 2" in arm.said(), 4.0, "the diagnostic")
        assert named < 2.2, "diagnostics come once a second, after the check"
        if reaction == "warn":
            assert arm.diagnostics["chunk_executor"].level == b"\x01"
            assert not stopped(arm)


def test_a_publisher_of_another_quality_of_service_is_named_within_two_seconds():
    with executor_process() as arm:
        arm.client.configure_executor()
        arm.wait(lambda: "chunk_executor" in arm.diagnostics, 10.0, "diagnostics")
        assert arm.said() == "ok"
        arm.node.create_publisher(JointTrajectory, "lawam/action_chunk", qos.ANY_PUBLISHER)
        message = "topic lawam/action_chunk: a publisher has another reliability"
        assert arm.wait(lambda: message in arm.said(), 4.0, "the diagnostic") < 2.0


def test_a_second_executor_refuses_to_start():
    with executor_process() as arm:
        arm.move()
        second = arm.start_process("-r", "__node:=second", "-p", "autostart:=true")
        try:
            started = time.monotonic()
            arm.wait(lambda: second.poll() is not None or stopped(arm), 20.0, "refusal")
            assert time.monotonic() - started > 3.0, f"it must wait until every other participant has announced itself, {arm.client.status}"
            assert second.poll() == 2
            time.sleep(1.2)
            assert not stopped(arm), "the first one looks for others every second, and must never have seen this one"
        finally:
            end(second)


def test_joint_states_that_fall_silent_stop_the_arm():
    with executor_process() as arm:
        arm.move()
        arm.joints_talk = False
        assert arm.wait(lambda: stopped(arm), 1.0, "STOP") < 0.05 + 0.008 + HEARD_S
        arm.wait(lambda: arm.state == "LATCHED", 1.0, "LATCHED")
        assert arm.reason == "joint_states_lost" and arm.resting
        assert "old" in reset(arm)[1]
        arm.joints_talk = True
        arm.wait(lambda: reset(arm)[0], 1.0, "a reset")


@pytest.mark.parametrize("ahead_s", [10.0, -10.0])
def test_joint_states_of_another_time_stop_the_arm(ahead_s):
    """Stamps of the future must not look young for as long as they are ahead."""
    with executor_process() as arm:
        arm.move()
        arm.joints_ahead_s = ahead_s
        assert arm.wait(lambda: stopped(arm), 1.0, "STOP") < 0.05 + 0.008 + HEARD_S
        arm.wait(lambda: arm.state == "LATCHED", 1.0, "LATCHED")
        assert arm.reason == "joint_states_lost" and arm.resting


def test_hold_and_stop_say_what_comes_of_them():
    with executor_process() as arm:
        arm.client.configure_executor()
        for service in ("hold", "stop"):
            kept, answer = arm.client.trigger(f"chunk_executor/{service}")
            assert not kept and answer.startswith("INACTIVE: nothing moves")
        arm.move()
        assert arm.client.trigger("chunk_executor/hold")[1].startswith("HOLD(requested): ")
        assert arm.client.trigger("chunk_executor/stop")[1].startswith(("STOP(requested): ", "LATCHED(requested): "))
        arm.wait(lambda: arm.state == "LATCHED", 1.0, "LATCHED")
        assert arm.client.trigger("chunk_executor/hold") == (True, "LATCHED(requested): at rest until chunk_executor/reset")


def test_simulated_time_without_a_clock_refuses_the_start():
    with executor_process(parameters=("use_sim_time:=true",)) as arm:
        arm.client.configure_executor()
        time.sleep(0.3)
        assert not arm.client.activate_executor()
        assert arm.state == "INACTIVE" and not arm.commands


def test_a_transition_that_does_not_exist_is_refused_in_motion():
    """rclpy alone would raise in the thread that serves the node."""
    with executor_process() as arm:
        arm.move()
        assert not arm.client.activate_executor()
        assert not arm.client.configure_executor()
        assert arm.state == "RUN"


def test_a_policy_without_heartbeat_is_held_and_latched():
    with executor_process() as arm:
        arm.heart_beats = True
        arm.move()
        arm.heart_beats = False
        assert arm.wait(lambda: arm.state == "HOLD", 1.0, "HOLD") < 0.3 + HEARD_S
        arm.wait(lambda: arm.state == "LATCHED", 2.0, "LATCHED")
        assert arm.reason == "policy_lost" and arm.resting


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_motion_brakes_to_rest_and_ends_with_0(number):
    with executor_process() as arm:
        arm.move()
        arm.process.send_signal(number)
        assert arm.process.wait(5) == 0
        time.sleep(0.1)
        assert arm.resting


def test_an_executor_that_was_frozen_goes_on_without_a_burst():
    with executor_process() as arm:
        arm.move()
        arm.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        count = len(arm.commands)
        time.sleep(0.1)
        arm.process.send_signal(signal.SIGCONT)
        arm.wait(lambda: len(arm.commands) > count + 8, 1.0, "set-points")
        around = arm.commands[count - 3 : count + 8]
        gaps_ns = np.diff([command.stamp_ns for command in around])
        gap = int(np.argmax(gaps_ns))  # a set-point that was under way came out afterwards
        assert gaps_ns[gap] > 100_000_000
        assert gaps_ns.min() > 3_000_000, "nothing is made up in a hurry"
        moved = np.abs(around[gap + 1].positions_rad - around[gap].positions_rad).max()
        assert moved < 3.5 * 0.004 * np.abs(around[gap].velocities_rad_s).max(), "three periods at most, whatever the wall clock says"


def test_parameters_keep_their_values_while_active():
    with executor_process() as arm:
        arm.move()
        client = arm.node.create_client(SetParameters, "chunk_executor/set_parameters")
        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=20.0)
        assert client.wait_for_service(5.0)
        answer = client.call_async(SetParameters.Request(parameters=[ParameterMessage(name="reference_hz", value=value)]))
        arm.wait(answer.done, 2.0, "an answer")
        result = answer.result().results[0]
        assert not result.successful and "read-only" in result.reason
        assert not stopped(arm)
