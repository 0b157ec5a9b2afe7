"""A real FR3 as far as it can be had without one: the executor node against a driver that answers, refuses and hangs.

The interfaces of control_msgs, controller_manager_msgs and franka_msgs are built first, which takes minutes.
"""

import importlib.util
import os
import subprocess
import sys

import pytest
from interface_packages import built_interfaces

pytest.importorskip("rclpy", reason="rclpy is not installed")

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
PACKAGES = ("control_msgs", "controller_manager_msgs", "franka_msgs")


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """What a process needs to find the interfaces; nothing where they are installed."""
    if all(importlib.util.find_spec(name) is not None for name in PACKAGES):
        return {}
    return built_interfaces(tmp_path_factory.mktemp("interfaces"))


@pytest.fixture
def run(variables):
    def run_case(name):
        path = os.pathsep.join([*(p for p in sys.path if p), variables.get("PYTHONPATH", "")])
        environment = {**os.environ, **variables, "PYTHONPATH": path}
        case = subprocess.run(
            [sys.executable, "-m", "real_robot_cases", name], env=environment, capture_output=True, text=True, timeout=180, check=False
        )
        print(case.stdout)
        assert case.returncode == 0, case.stderr[-4000:]

    return run_case


def test_a_chunk_is_carried_out_through_windows_within_the_limits(run):
    run("a_chunk_is_carried_out_through_windows")


def test_a_controller_that_goes_inactive_stops_and_latches_until_it_is_recovered(run):
    run("a_controller_that_goes_inactive")


def test_a_reflex_latches_and_is_recovered_in_order(run):
    run("a_reflex_and_the_order_of_its_recovery")


def test_a_recovery_that_is_refused_or_hangs_says_where(run):
    run("a_recovery_that_is_refused_or_hangs")


def test_a_controller_that_refuses_windows_stops_and_latches(run):
    run("a_controller_that_refuses_windows")


def test_a_forwarding_controller_is_refused_at_configure(run):
    run("a_forwarding_controller_is_refused_at_configure")


def test_a_controller_manager_that_hangs_is_waited_for(run):
    run("a_controller_manager_that_hangs_is_waited_for")


def test_the_limits_of_the_robots_own_description_are_kept(run):
    run("limits_of_the_robots_own_description")


def test_the_gripper_grasps_once_and_opens_again(run):
    run("the_gripper_grasps_once_and_opens_again")


def test_a_gripper_that_hangs_is_reported_and_tried_once_more(run):
    run("a_gripper_that_hangs_is_reported_and_tried_once_more")


def test_a_gripper_that_refuses_is_tried_twice(run):
    run("a_gripper_that_refuses_is_tried_twice")


def test_a_gripper_with_gripper_command(run):
    run("a_gripper_with_gripper_command")
