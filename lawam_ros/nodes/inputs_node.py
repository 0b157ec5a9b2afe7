"""A second node in a process, for subscriptions that must be spun by an executor of their own."""

import sys
from collections.abc import Sequence

from rclpy.node import Node


def inputs_node(owner: Node, suffix: str = "inputs") -> Node:
    """Node ``<owner>_<suffix>`` beside its owner, with the owner's namespace and every topic remapping of the command line."""
    return Node(
        f"{owner.get_name()}_{suffix}",
        namespace=owner.get_namespace(),
        use_global_arguments=False,  # they hold the owner's name
        cli_args=topic_remappings(sys.argv),
        start_parameter_services=False,  # six entities more to wait for at every message, and nobody asks it
    )


def topic_remappings(arguments: Sequence[str]) -> list[str]:
    """The remapping rules among ROS arguments, as arguments again; those of names and namespaces (``__node``, ``__ns``) left out."""
    rules = [
        value
        for flag, value in zip(arguments, arguments[1:], strict=False)
        if flag in ("-r", "--remap") and not value.split(":=")[0].split(":")[-1].startswith("__")
    ]
    return ["--ros-args", *(part for rule in rules for part in ("-r", rule))] if rules else []
