"""Every topic, service, parameter table and reason of the executor is in ``docs/``, as the code names it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGE = CHECKOUT / "lawam_ros"
DOCS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((CHECKOUT / "docs").glob("*.md")))
QUOTED = set(re.findall(r"`([^`\n]+)`", DOCS))
ENDPOINTS = {"create_publisher", "create_subscription", "create_service", "create_client", "subscribe"}
ROOMS = ("nodes", "cli")
JUDGING = {"acceptance.py": ("_judge",), "executor.py": ("_refusal",), "wire.py": ("chunk_", "_constant")}
"""Files whose functions of such names return or raise reasons."""
NOT_ON_THE_WIRE = ("fuzzing.py", "rehearsal.py")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def constants(paths: Iterator[Path]) -> dict[str, str]:
    """Module-level names of texts."""
    found = {}
    for path in paths:
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                found |= {target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)}
    return found


def text(node: ast.expr, known: dict[str, str]) -> str | None:
    """A text as far as it is written in the code, ``<>`` for what is filled in; None for one that comes from a file or an argument."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "<>" for part in node.values)
    if isinstance(node, ast.Name | ast.Attribute):
        return known.get(node.id if isinstance(node, ast.Name) else node.attr)
    return None


def endpoints() -> dict[str, Path]:
    known = constants(PACKAGE.rglob("*.py"))
    found = {}
    for path in (path for room in ROOMS for path in sorted((PACKAGE / room).glob("*.py"))):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and len(node.args) >= 2:
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ENDPOINTS and (topic := text(node.args[1], known)):
                    found[topic] = path
    return found


def documented(topic: str, node: str) -> bool:
    """In the docs as it is, with what is filled in as ``<anything>``, or shortened behind its row's first name (``/stop``, ``.../pca``)."""
    if topic in ("~/<>", "/tf", "/tf_static"):  # services of a table in the code, which has a test of its own; ROS's own topics
        return True
    full = topic.replace("~/", f"{node}/")
    if "<>" in full:
        start = full.split("<>")[0]
        return any(quoted.startswith(start) for quoted in QUOTED)
    leaf = full.rsplit("/", 1)[-1]
    return any(quoted in (full, f"/{leaf}", f".../{leaf}") or quoted.endswith(f"/{leaf}") for quoted in QUOTED)


ENDPOINT_PATHS = endpoints()


@pytest.mark.parametrize("topic", sorted(ENDPOINT_PATHS))
def test_every_topic_and_service_is_documented(topic):
    assert documented(topic, ENDPOINT_PATHS[topic].stem)


def test_the_topics_and_services_are_found_in_the_code():
    assert {"lawam/action_chunk", "lawam/status", "lawam/heartbeat", "instruction", "~/hold", "~/reset"} <= set(ENDPOINT_PATHS) | {
        "instruction"
    }
    assert len(ENDPOINT_PATHS) > 20


TABLES = sorted(path.stem for path in (PACKAGE / "nodes").glob("*.py") if re.search(r"^TABLE\b", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("node", TABLES)
def test_every_table_of_parameters_is_on_the_page(node):
    assert f"## `{node}`" in (CHECKOUT / "docs/parameters.md").read_text()


def reasons() -> set[str]:
    """What ``reason`` and ``rejected_reason`` of ``lawam/status`` may say."""
    paths = [path for path in (PACKAGE / "control").glob("*.py") if path.name not in NOT_ON_THE_WIRE]
    paths += [PACKAGE / "nodes/chunk_executor.py", PACKAGE / "contract/wire.py"]
    known = constants(iter(paths))
    named = ("ladder.py", "operator_inputs.py", "controller_watch.py")
    found = set(constants(path for path in paths if path.name in named).values())
    for path in paths:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in ("request_stop", "request_hold"):
                    found.add(text(node.args[0], known) or "")
            if isinstance(node, ast.FunctionDef) and node.name.startswith(JUDGING.get(path.name, ())):
                given = [back.value for back in ast.walk(node) if isinstance(back, ast.Return)]
                raised = [raising.exc.args[0] for raising in ast.walk(node) if isinstance(raising, ast.Raise)]
                found |= {text(value, known) or "" for value in (*given, *raised) if value is not None}
    return {reason for reason in found if re.fullmatch(r"[a-z_]+(<>)?", reason)}


REASONS = reasons()


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_is_documented(reason):
    assert any(quoted == reason or ("<>" in reason and quoted.startswith(reason.split("<>")[0])) for quoted in QUOTED)


def test_the_reasons_are_found_in_the_code():
    assert {
        "waiting_for_chunk",
        "policy_lost",
        "joint_states_lost",
        "estop",
        "start_distance",
        "guard_<>",
        "reserved_components",
    } <= REASONS
