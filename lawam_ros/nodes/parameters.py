"""Parameters of a node as one table of typed, described, range-checked entries; the reference page is generated from these tables."""

from dataclasses import dataclass

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

Value = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One parameter. Numbers need ``low`` and ``high``; the unit is part of the name where there is one."""

    name: str
    default: Value
    text: str
    low: float | None = None
    high: float | None = None
    read_only: bool = True


TASK = Parameter("task", "franka_pick_place", "Task, a file in config/tasks.")
ROBOT = Parameter("robot", "", "Robot, a file in config/robots; empty takes the task's first.")
OVERRIDES = Parameter(
    "overrides", "", "Contract overrides such as world.cube_size_m=0.05, separated by semicolons; the same for every node."
)
AUTOSTART = Parameter("autostart", True, "Configure and activate without waiting for a lifecycle manager.")
COMMON = (TASK, ROBOT, OVERRIDES, AUTOSTART)


def declare(node: Node, table: tuple[Parameter, ...]) -> None:
    """Declare every entry; rclpy then refuses values of another type, out of range, or set while read-only."""
    for entry in table:
        node.declare_parameter(entry.name, entry.default, _descriptor(entry))


def value(node: Node, entry: Parameter) -> Value:
    """Current value, of the type of the default."""
    return node.get_parameter(entry.name).value


def _descriptor(entry: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(name=entry.name, description=entry.text, read_only=entry.read_only)
    if isinstance(entry.default, bool) or not isinstance(entry.default, int | float):
        return descriptor
    if entry.low is None or entry.high is None:
        raise ValueError(f"parameter {entry.name}: a number needs low and high")
    if isinstance(entry.default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(entry.low), to_value=int(entry.high), step=1)]
    else:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(entry.low), to_value=float(entry.high), step=0.0)]
    return descriptor
