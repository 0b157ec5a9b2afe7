"""The node beside a node: same namespace, same remappings, a name of its own."""

import threading

import pytest
import rclpy
from rclpy.context import Context

from lawam_ros.nodes.inputs_node import topic_remappings
from lawam_ros.nodes.own_thread import OwnThread


def test_topic_remappings_are_taken_over_and_names_are_not():
    arguments = ["policy", "--ros-args", "-r", "__node:=left", "-r", "joint_states:=/driver/joint_states", "--remap", "a:b:=c"]
    assert topic_remappings(arguments) == ["--ros-args", "-r", "joint_states:=/driver/joint_states", "-r", "a:b:=c"]
    assert topic_remappings([*arguments, "-r", "other:__ns:=/x", "-r", "__ns:=/y"]) == topic_remappings(arguments)
    assert topic_remappings(["policy"]) == []


def test_a_node_made_with_them_subscribes_to_the_remapped_topic():
    context = Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node(
            "executor_inputs",
            context=context,
            use_global_arguments=False,
            cli_args=topic_remappings(["x", "-r", "__node:=executor", "-r", "joint_states:=/driver/joint_states"]),
        )
        assert node.get_name() == "executor_inputs"
        assert node.resolve_topic_name("joint_states") == "/driver/joint_states"
        node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


def test_a_node_in_a_thread_of_its_own_is_spun_until_it_is_closed():
    context = Context()
    rclpy.init(context=context)
    try:
        node, spun = rclpy.create_node("inputs", context=context), threading.Event()
        thread = OwnThread(node, "inputs under test", lambda: pytest.fail("it failed"))
        node.create_timer(0.01, spun.set)  # made while it is spun
        assert spun.wait(10.0)
        thread.close()
        assert "inputs under test" not in [other.name for other in threading.enumerate()]
        spun.clear()
        assert not spun.wait(0.05)
    finally:
        rclpy.try_shutdown(context=context)


def test_a_callback_that_raises_is_printed_and_told(capsys):
    context = Context()
    rclpy.init(context=context)
    try:
        node, failed = rclpy.create_node("inputs", context=context), threading.Event()
        node.create_timer(0.01, lambda: {}["broken callback"])
        thread = OwnThread(node, "inputs under test", failed.set)
        assert failed.wait(10.0)
        thread.close()
        assert "broken callback" in capsys.readouterr().err
    finally:
        rclpy.try_shutdown(context=context)
