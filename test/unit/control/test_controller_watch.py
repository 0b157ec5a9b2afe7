"""A controller or robot that stops obeying: the arm is told nothing more, and starts from where it is only after a restart."""

import numpy as np
import pytest
from real_arm import RealArm

from lawam_ros.control.executor import ActivationRefused


def moving_arm(**options):
    arm = RealArm(**options)
    arm.move(0.3)
    return arm


def assert_nothing_is_sent(arm, seconds=0.2):
    sent = len(arm.windows)
    arm.run(seconds)
    assert len(arm.windows) == sent


def test_a_controller_that_goes_inactive_is_told_nothing_more_from_the_next_tick_on():
    arm = moving_arm()
    arm.executor.controller.activity(False)
    assert arm.until(lambda: arm.status.state in ("STOP", "LATCHED")) <= 0.004
    assert arm.status.reason == "controller_inactive"
    assert_nothing_is_sent(arm)
    assert arm.status.state == "LATCHED"
    assert arm.excess()["acceleration"] <= 1.001
    assert "inactive" in arm.executor.reset(arm.now_ns)


def test_a_restart_too_quick_to_be_seen_between_ticks_counts_all_the_same():
    arm = moving_arm()
    arm.executor.controller.activity(False)
    arm.executor.controller.activity(True)
    arm.until(lambda: arm.status.state == "LATCHED")
    assert arm.status.reason == "controller_inactive"
    assert_nothing_is_sent(arm)


def test_after_the_controllers_restart_a_reset_starts_from_the_measured_pose():
    arm = moving_arm()
    arm.executor.controller.activity(False)
    arm.until(lambda: arm.status.state == "LATCHED")
    arm.run(0.5)
    elsewhere = arm.joints + 0.2
    arm.controller.desired = (elsewhere, np.zeros(7), np.zeros(7))
    arm.controller._points = None
    arm.run(0.02)
    arm.executor.controller.activity(True)
    assert_nothing_is_sent(arm)
    assert arm.executor.reset(arm.now_ns) is None
    assert arm.status.initialised_from == "measured"
    restarted = len(arm.desired)
    arm.run(0.3)
    np.testing.assert_allclose(arm.joints, elsewhere, rtol=0, atol=1e-9)
    arm.push(0.2)
    arm.run(1.0)
    assert all(share <= 1.001 for share in arm.excess(restarted).values())


def test_a_controller_that_refuses_is_noticed_after_a_tenth_of_a_second():
    arm = RealArm()
    arm.activate()
    arm.run(0.3)
    arm.controller.take = lambda *_: None
    arm.push(0.5)
    far = arm.until(lambda: np.abs(arm.executor._window.commanded(arm.now_ns).position - arm.joints).max() > 0.05)
    assert 0.09 <= arm.until(lambda: arm.status.state != "RUN") <= 0.11, far
    assert arm.status.reason == "controller_refuses"
    assert_nothing_is_sent(arm)
    arm.until(lambda: arm.status.state == "LATCHED")
    assert "restart it" in arm.executor.reset(arm.now_ns)


def test_a_controller_that_falls_silent_is_noticed_after_a_tenth_of_a_second():
    arm = moving_arm()
    arm.executor.controller.reference = lambda *_: None
    assert 0.09 <= arm.until(lambda: arm.status.state == "STOP") <= 0.108
    assert arm.status.reason == "controller_silent"
    assert_nothing_is_sent(arm)


def test_a_reference_that_is_no_number_is_refused():
    arm = moving_arm()
    tell = arm.executor.controller.reference
    arm.executor.controller.reference = lambda positions, now_ns: tell(positions * np.nan, now_ns)
    assert arm.until(lambda: arm.status.state == "STOP") <= 0.108
    assert arm.status.reason == "controller_refuses"


@pytest.mark.parametrize("reason", ["robot_reflex", "robot_user_stopped"])
def test_a_protective_stop_of_the_robot_is_obeyed_at_the_next_tick_and_left_only_from_the_measured_pose(reason):
    arm = moving_arm()
    arm.executor.controller.robot(reason)
    arm.executor.controller.activity(False)
    assert arm.until(lambda: arm.status.state in ("STOP", "LATCHED")) <= 0.004
    assert arm.status.reason == reason
    assert_nothing_is_sent(arm)
    assert reason in arm.executor.reset(arm.now_ns)
    arm.executor.controller.robot("")
    assert "inactive" in arm.executor.reset(arm.now_ns)
    arm.executor.controller.activity(True)
    assert arm.executor.reset(arm.now_ns) is None
    assert arm.status.initialised_from == "measured"


def test_a_clock_that_jumps_stops_the_arm_because_the_controller_reads_stamps_by_it():
    arm = moving_arm()
    arm.executor.clock_jumped(arm.now_ns)
    arm.until(lambda: arm.status.state == "LATCHED")
    assert arm.status.reason == "clock_jumped"
    assert_nothing_is_sent(arm)
    assert "restart it" in arm.executor.reset(arm.now_ns)


def test_without_a_restart_an_activation_goes_on_from_the_last_command():
    arm = moving_arm()
    arm.executor.deactivate(arm.now_ns)
    arm.until(lambda: arm.status.state == "INACTIVE")
    arm.run(0.2)
    arm.activate()
    assert arm.status.initialised_from == "command"
    arm.run(0.3)
    assert arm.excess()["acceleration"] <= 1.001


def test_an_arm_that_somebody_else_moved_meanwhile_is_not_pulled_back():
    arm = moving_arm()
    arm.executor.deactivate(arm.now_ns)
    arm.until(lambda: arm.status.state == "INACTIVE")
    arm.run(0.2)
    arm.controller.desired = (arm.joints + 0.03, np.zeros(7), np.zeros(7))
    arm.controller._points = None
    arm.run(0.02)
    with pytest.raises(ActivationRefused, match="follows our last command"):
        arm.activate()


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        (lambda watch, now_ns: None, "activity to name our controller"),
        (lambda watch, now_ns: watch.activity(False), "it is inactive"),
        (lambda watch, now_ns: watch.activity(True), "controller_state at least every 0.1 s, none came"),
        (lambda watch, now_ns: (watch.activity(True), watch.reference(np.zeros(7), now_ns - 2 * 10**8)), "the last came 0.20 s ago"),
        (lambda watch, now_ns: (watch.activity(True), watch.robot("robot_guiding")), "it reports robot_guiding"),
    ],
)
def test_what_an_activation_waits_for_is_said_in_one_sentence(say, expected):
    arm = RealArm()
    arm.listen()
    watch = arm.executor.controller
    arm.executor.controller = type(watch)(arm.robot.real)
    say(arm.executor.controller, arm.now_ns)
    with pytest.raises(ActivationRefused, match=expected):
        arm.executor.activate(arm.now_ns)


def test_a_pose_controller_gets_no_windows_and_is_not_asked_for_its_reference():
    arm = RealArm(overrides=["robot.real.output=pose", "robot.real.command_topic=target_pose"])
    arm.listen = lambda: arm.executor.measured(
        arm.now_ns,
        dict(zip(arm.robot.joint_names, arm.joints.tolist(), strict=True)) | dict.fromkeys(arm.robot.arms[0].gripper.joints, 0.04),
    )
    arm.activate()
    arm.run(0.2)
    assert arm.windows == []
    assert arm.outputs[-1].heard
    assert arm.outputs[-1].command.stamp_ns <= arm.now_ns
    arm.executor.controller.activity(False)
    arm.run(0.01)
    assert not arm.outputs[-1].heard
    assert arm.status.reason == "controller_inactive"
