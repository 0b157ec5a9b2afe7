"""The reference page of all parameters, from the tables the nodes declare.

Written by ``python -m lawam_ros.cli.parameter_page > docs/parameters.md``.
"""

import sys

from lawam_ros.bringup import arguments
from lawam_ros.nodes import chunk_executor, mock, parameters, player, policy, recorder, sim, subgoal_view, viewer, x1_bridge
from lawam_ros.nodes.parameters import Parameter

_NODES = (
    ("sim", sim.TABLE),
    ("mock", mock.TABLE),
    ("policy", policy.TABLE),
    ("chunk_executor", chunk_executor.TABLE),
    ("subgoal_view", subgoal_view.TABLE),
    ("recorder", recorder.TABLE),
    ("player", player.TABLE),
    ("viewer", viewer.TABLE),
    ("x1_bridge", x1_bridge.TABLE),
)


_HEAD = """# Parameters

Generated from the code (`python -m lawam_ros.cli.parameter_page > docs/parameters.md`); a test compares.

## Launch arguments

Defaults of `franka_pick_place`.

| argument | default | choices | meaning |
|---|---|---|---|"""


def page() -> str:
    """Markdown text."""
    lines = [_HEAD]
    for argument in arguments("franka_pick_place"):
        choices = ", ".join(argument.choices) or "any"
        lines.append(f"| `{argument.name}` | `{argument.default or '(empty)'}` | {choices} | {argument.text} |")
    lines += ["", "## Every node", "", *_table(parameters.COMMON)]
    for name, table in _NODES:
        lines += ["", f"## `{name}`", "", *_table(table)]
    return "\n".join(lines) + "\n"


def _table(table: tuple[Parameter, ...]) -> list[str]:
    rows = ["| parameter | type | default | range | set while running | meaning |", "|---|---|---|---|---|---|"]
    for entry in table:
        span = f"{entry.low:g} to {entry.high:g}" if entry.low is not None and entry.high is not None else ""
        default = repr(entry.default) if isinstance(entry.default, str) else str(entry.default)
        kind = type(entry.default).__name__
        rows.append(f"| `{entry.name}` | {kind} | `{default}` | {span} | {'no' if entry.read_only else 'yes'} | {entry.text} |")
    return rows


if __name__ == "__main__":
    sys.stdout.write(page())
