"""The node beside a node: same namespace, same remappings, a name of its own."""

import rclpy
from rclpy.context import Context

from lawam_ros.nodes.inputs_node import topic_remappings


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
