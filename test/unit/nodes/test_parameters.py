"""Every parameter is described and bounded, and a real node refuses what is outside."""

import os
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from lawam_ros import bringup
from lawam_ros.cli.process_group import ProcessGroup
from lawam_ros.nodes import chunk_executor, parameters, policy, sim, subgoal_view
from lawam_ros.nodes.parameters import COMMON, Parameter

TABLES = {
    "chunk_executor": chunk_executor.TABLE,
    "policy": policy.TABLE,
    "sim": sim.TABLE,
    "subgoal_view": subgoal_view.TABLE,
}
ENTRIES = [(node, entry) for node, table in TABLES.items() for entry in COMMON + table]


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, domain_id=int(os.environ["ROS_DOMAIN_ID"]))
    made = rclpy.create_node("parameters_under_test", context=context)
    yield made
    made.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.mark.parametrize(("node_name", "entry"), ENTRIES, ids=[f"{node}.{entry.name}" for node, entry in ENTRIES])
def test_every_parameter_has_a_text_and_every_number_a_range(node_name: str, entry: Parameter) -> None:
    assert entry.text.endswith(".")
    assert len(entry.text) > 15
    if isinstance(entry.default, bool) or not isinstance(entry.default, int | float):
        return
    assert entry.low is not None
    assert entry.high is not None
    assert entry.low <= entry.default <= entry.high


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_no_name_twice(table: tuple[Parameter, ...]) -> None:
    names = [entry.name for entry in COMMON + table]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", list(TABLES))
def test_declared_on_a_node_with_defaults_text_and_range(node: Node, name: str) -> None:
    table = COMMON + TABLES[name]
    parameters.declare(node, table)
    for entry in table:
        assert parameters.value(node, entry) == entry.default
        assert type(parameters.value(node, entry)) is type(entry.default)
        descriptor = node.describe_parameter(entry.name)
        assert descriptor.description == entry.text
        assert descriptor.read_only == entry.read_only
        if isinstance(entry.default, float):
            assert descriptor.floating_point_range[0].to_value == entry.high
        elif isinstance(entry.default, int) and not isinstance(entry.default, bool):
            assert descriptor.integer_range[0].to_value == entry.high


def test_what_bringup_sets_are_parameters_of_the_node() -> None:
    for spec in bringup.nodes_for("franka_pick_place", bringup.defaults("franka_pick_place")):
        entries = {entry.name: entry for entry in COMMON + TABLES[spec.executable]}
        for name, value in spec.parameters.items():
            assert type(value) is type(entries[name].default)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (3, "out of range"),
        (-1, "out of range"),
        ("1", "Wrong parameter type"),
        (1.0, "Wrong parameter type"),
        (True, "Wrong parameter type"),
    ],
)
def test_wrong_values_are_refused(node: Node, value: object, reason: str) -> None:
    parameters.declare(node, (Parameter("count", 1, "How many.", low=0, high=2, read_only=False),))
    result = node.set_parameters([RosParameter("count", value=value)])[0]
    assert not result.successful
    assert reason in result.reason
    assert node.get_parameter("count").value == 1


@pytest.mark.parametrize("value", [2.1, -0.1, float("inf")])
def test_numbers_outside_are_refused(node: Node, value: float) -> None:
    parameters.declare(node, (Parameter("rate_hz", 1.0, "How often.", low=0.0, high=2.0, read_only=False),))
    assert not node.set_parameters([RosParameter("rate_hz", value=value)])[0].successful
    assert node.set_parameters([RosParameter("rate_hz", value=2.0)])[0].successful


def test_read_only_parameters_stay(node: Node) -> None:
    parameters.declare(node, (Parameter("fixed", 1, "Never changes.", low=0, high=2),))
    assert "read-only" in node.set_parameters([RosParameter("fixed", value=2)])[0].reason
    assert node.get_parameter("fixed").value == 1


@pytest.mark.parametrize(
    ("given", "error"),
    [("100000.0", InvalidParameterValueException), ("'fast'", InvalidParameterTypeException), ("3", InvalidParameterTypeException)],
)
def test_wrong_values_on_the_command_line_are_refused_at_declaration(given: str, error: type[Exception]) -> None:
    context = Context()
    arguments = ["--ros-args", "-p", f"joint_states_hz:={given}"]
    rclpy.init(context=context, domain_id=int(os.environ["ROS_DOMAIN_ID"]), args=arguments)
    try:
        made = rclpy.create_node("parameters_from_outside", context=context)
        with pytest.raises(error):
            parameters.declare(made, sim.TABLE)
        made.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


@pytest.mark.parametrize("text", ["1e3", "yes", "12", "0x10", "~", "", "a: b # c", 'it is "there"', "künstlich 🙂", "a\nb", "[1, 2]"])
def test_texts_reach_the_node_as_texts(text: str) -> None:
    """Through the parameter file that the runner writes and the parser of ROS, for which 1e3 without quotes is a number."""
    group = ProcessGroup((bringup.NodeSpec("policy", {"checkpoint": text, "seed": 3, "added_delay_s": 0.0}),), "", {})
    group._configuration()
    context = Context()
    arguments = ["--ros-args", "-r", "__node:=policy", "--params-file", str(group._path / "policy.yaml")]
    rclpy.init(context=context, domain_id=int(os.environ["ROS_DOMAIN_ID"]), args=arguments)
    try:
        made = rclpy.create_node("unnamed", context=context)
        parameters.declare(made, policy.TABLE)
        assert parameters.value(made, policy.CHECKPOINT) == text
        assert parameters.value(made, policy.SEED) == 3
        made.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


def test_a_number_without_a_range_is_a_mistake_in_the_table(node: Node) -> None:
    with pytest.raises(ValueError, match="a number needs low and high"):
        parameters.declare(node, (Parameter("rate_hz", 1.0, "How often."),))
