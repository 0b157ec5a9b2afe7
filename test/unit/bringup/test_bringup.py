"""The table of nodes: arguments, what is refused, and that ``ros2 launch`` and the runner start the same."""

import importlib.util
import json
import shlex
import sys
from configparser import RawConfigParser
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lawam_ros import bringup
from lawam_ros.bringup import ARGUMENTS, Argument, NodeSpec
from lawam_ros.cli.process_group import ProcessGroup
from lawam_ros.cli.replay_nodes import REPLAY_ARGUMENTS, replay_nodes
from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import share_dir
from lawam_ros.data.replay_setup import replay_values

TASK = "franka_pick_place"
GOLDEN = Path(__file__).resolve().parents[2] / "data" / "bags" / "pick_place"


def values(**changes: str) -> dict[str, str]:
    return bringup.defaults(TASK) | changes


@pytest.mark.parametrize("argument", ARGUMENTS, ids=lambda argument: argument.name)
def test_every_argument_has_a_text_and_a_default_that_is_allowed(argument: Argument) -> None:
    assert argument.text.endswith(".")
    assert len(argument.text) > 15
    assert not argument.choices or argument.default in argument.choices


def test_defaults_are_those_of_the_task() -> None:
    contract = load_contract(TASK)
    own = {"robot": contract.robot.name, "checkpoint": contract.task.checkpoint, "instruction": contract.task.instruction}
    assert own.items() <= bringup.defaults(TASK).items()
    assert set(bringup.defaults(TASK)) == {argument.name for argument in ARGUMENTS}
    bringup.check_arguments(bringup.defaults(TASK))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hardware", "reel", "hardware:=reel: expected sim"),
        ("device", "gpu", "device:=gpu: expected auto or cpu or cuda"),
        ("view", "yes", "view:=yes: expected true or false"),
        ("seed", "-1", "seed:=-1: expected a whole number from 0"),
        ("seed", "1.5", "seed:=1.5: expected a whole number"),
        ("seed", "", "seed:=: expected a whole number"),
        ("seed", "²", "seed:=²: expected a whole number"),
        ("seed", str(2**31), f"seed:={2**31}: expected a whole number from 0 to {2**31 - 1}"),
        ("namespace", "cell one", "namespace:=cell one: expected names of letters"),
        ("namespace", "1cell", "namespace:=1cell: expected names"),
        ("namespace", "a//b", "namespace:=a//b: expected names"),
        ("namespace", "a\nb", "expected names"),
        ("robot", "franka_fr9", "unknown robot 'franka_fr9': expected one of"),
        ("set", "world.nothing=1", "there is no key 'task.world.nothing'"),
        ("set", "world.cube_size_m", "expected an override like"),
        ("colour", "red", "unknown launch argument 'colour': expected one of hardware"),
    ],
)
def test_bad_values_are_refused_in_one_sentence(name: str, value: str, expected: str) -> None:
    with pytest.raises(UserMistake) as refusal:
        bringup.nodes_for(TASK, values(**{name: value}))
    assert expected in str(refusal.value)
    assert "\n" not in str(refusal.value).replace(value, "")


@pytest.mark.parametrize("namespace", ["", "/", "cell", "/cell", "cell_1/left", "/cell_1/left/"])
def test_namespaces_of_ros_are_taken(namespace: str) -> None:
    bringup.check_arguments({"namespace": namespace})


def test_unknown_task() -> None:
    with pytest.raises(UserMistake, match="unknown task 'make_coffee': expected one of .*franka_pick_place"):
        bringup.defaults("make_coffee")


def test_parameters_of_the_nodes() -> None:
    nodes = bringup.nodes_for(
        TASK, values(seed="7", checkpoint="some/folder", device="cpu", instruction="lift it", set="robot.tick_hz=200;")
    )
    by_name = {node.name: node for node in nodes}
    assert list(by_name) == ["sim", "chunk_executor", "policy", "subgoal_view"]
    common = {"task": TASK, "robot": "franka_panda", "overrides": "robot.tick_hz=200;"}
    assert by_name["sim"] == NodeSpec("sim", {**common, "seed": 7})
    executor = {**common, "instruction": "lift it", "await_policy": True, "reference_hz": 125.0}
    assert by_name["chunk_executor"] == NodeSpec("chunk_executor", executor)
    policy = {**common, "checkpoint": "some/folder", "device": "cpu", "rtc": True, "seed": 7}
    assert by_name["policy"] == NodeSpec("policy", policy, respawn=True)
    assert by_name["subgoal_view"] == NodeSpec("subgoal_view", common)
    assert [node.name for node in bringup.nodes_for(TASK, values(view="false"))] == ["sim", "chunk_executor", "policy"]


@pytest.mark.parametrize("viewer", ["foxglove", "rerun"])
def test_a_viewer_brings_what_it_shows(viewer: str) -> None:
    nodes = bringup.nodes_for(TASK, values(view="false", viewer=viewer))
    assert [node.name for node in nodes][-2:] == ["subgoal_view", "viewer"]
    assert nodes[-1].parameters["viewer"] == viewer


def test_lock_step_is_told_to_the_three_it_concerns() -> None:
    nodes = {node.name: node.parameters for node in bringup.nodes_for(TASK, values(clock="lockstep", latency_s="0.25"))}
    for name in ("sim", "chunk_executor", "policy"):
        assert (nodes[name]["lockstep"], nodes[name]["lockstep_latency_s"]) == (True, 0.25)
    assert "lockstep" not in nodes["subgoal_view"]
    with pytest.raises(UserMistake, match="latency_s:=soon: expected a number from 0 to 5"):
        bringup.nodes_for(TASK, values(clock="lockstep", latency_s="soon"))


def test_simulation_stays_on_this_machine_and_reality_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    assert bringup.environment("sim")["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert "ROS_AUTOMATIC_DISCOVERY_RANGE" not in bringup.environment("real")
    assert Path(bringup.environment("sim")["FASTDDS_DEFAULT_PROFILES_FILE"]).is_file()
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/of/the/user.xml")
    assert bringup.environment("sim")["FASTDDS_DEFAULT_PROFILES_FILE"] == "/of/the/user.xml"


def test_in_lock_step_the_executor_has_its_part_in_shared_memory() -> None:
    shared = {clock: bringup.environment("sim", clock)["LAWAM_SHARED_MEMORY"] for clock in ("steady", "lockstep")}
    assert shared == {"steady": "off", "lockstep": "on"}


@dataclass
class Recorded:
    """An action of launch, as it was made."""

    kind: str
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StandInConfiguration:
    name: str

    def perform(self, context: dict[str, str]) -> str:
        return context[self.name]


def recording(kind: str) -> Any:
    return lambda *args, **options: Recorded(kind, args, options)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a launch file on a recording stand-in of launch, with arguments as on a command line; its actions by kind."""
    kinds = ("DeclareLaunchArgument", "OpaqueFunction", "SetEnvironmentVariable", "RegisterEventHandler", "Shutdown", "ExecuteProcess")
    actions = SimpleNamespace(**{kind: recording(kind) for kind in kinds})
    contents: dict[str, dict[str, Any]] = {
        "launch": {"LaunchDescription": lambda entities: list(entities)},
        "launch.actions": vars(actions),
        "launch.event_handlers": {"OnProcessExit": recording("OnProcessExit")},
        "launch.substitutions": {"LaunchConfiguration": StandInConfiguration},
        "launch_ros": {},
        "launch_ros.actions": {"Node": recording("Node")},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for name in contents:
        if "." in name:
            parent, child = name.split(".")
            monkeypatch.setattr(sys.modules[parent], child, sys.modules[name], raising=False)

    def launch(given: dict[str, str], name: str = TASK) -> dict[str, list[Recorded]]:
        path = share_dir() / "launch" / f"{name}.launch.py"
        spec = importlib.util.spec_from_file_location("launch_file_under_test", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        entities = module.generate_launch_description()
        context = {e.args[0]: e.options["default_value"] for e in entities if e.kind == "DeclareLaunchArgument"} | given
        for entity in [e for e in entities if e.kind == "OpaqueFunction"]:
            entities += entity.options["function"](context)
        return {kind: [e for e in entities if e.kind == kind] for kind in {e.kind for e in entities}}

    return launch


def started_by_the_runner(nodes: tuple[NodeSpec, ...], namespace: str) -> dict[str, dict[str, Any]]:
    """What the configuration and parameter files for supervisord say, node by node."""
    group = ProcessGroup(nodes, namespace, {})
    configuration = RawConfigParser()
    configuration.read_string(group._configuration())
    found = {}
    for section in configuration.sections():
        if not section.startswith("program:"):
            continue
        command = shlex.split(configuration[section]["command"].replace("%%", "%"))
        remaps = dict(command[i + 1].split(":=") for i, word in enumerate(command) if word == "-r")
        content = json.loads(Path(command[command.index("--params-file") + 1]).read_text(encoding="utf-8"))
        found[remaps["__node"]] = {
            "executable": command[command.index("-m") + 1].removeprefix("lawam_ros.nodes."),
            "namespace": remaps.get("__ns", ""),
            "parameters": content["/**"]["ros__parameters"],
            "respawn": configuration[section]["autorestart"] != "false",
        }
    return found


def assert_same(actions: dict[str, list[Recorded]], nodes: tuple[NodeSpec, ...], namespace: str, environment: dict[str, str]) -> None:
    """What launch starts is what the runner starts, and is ``nodes``."""
    by_runner = started_by_the_runner(nodes, namespace)
    by_launch = {}
    for node in actions["Node"]:
        assert node.options["package"] == "lawam_ros"
        by_launch[node.options["name"]] = {
            "executable": node.options["executable"],
            "namespace": "/" + node.options["namespace"].strip("/") if node.options["namespace"] else "",
            "parameters": node.options["parameters"][0],
            "respawn": node.options["respawn"],
        }
        assert len(node.options["parameters"]) == 1
    assert by_launch == by_runner
    assert [node.name for node in nodes] == list(by_runner) == list(by_launch)
    for node in nodes:
        assert {name: type(value) for name, value in by_runner[node.name]["parameters"].items()} == {
            name: type(value) for name, value in node.parameters.items()
        }
    variables = {action.args[0]: action.args[1] for action in actions["SetEnvironmentVariable"]}
    assert variables == environment


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"view": "false", "seed": "12001"},
        {"record": "true", "bag": "/tmp/bag 1", "clock": "lockstep"},
        {
            "namespace": "/cell_1/left",
            "set": "world.cube_size_m=0.05;robot.tick_hz=200.0",
            "checkpoint": "1e3",
            "instruction": "yes: put 'it' there, 100 % # künstlich",
        },
    ],
)
def test_launch_and_runner_start_the_same(launched: Any, given: dict[str, str]) -> None:
    resolved = values(**given)
    environment = bringup.environment(resolved["hardware"], resolved["clock"])
    assert_same(launched(given), bringup.nodes_for(TASK, resolved), resolved["namespace"], environment)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"clock": "steady", "rate": "0.5", "closed": "true", "tolerance_command_rad": "0.02"},
        {"namespace": "cell", "checkpoint": "hold", "against": str(GOLDEN), "same_weights": "true", "set": "robot.tick_hz=200.0"},
    ],
)
def test_launch_and_runner_replay_the_same(launched: Any, given: dict[str, str]) -> None:
    given = {"bag": str(GOLDEN), **given}
    resolved = replay_values(GOLDEN, {argument.name: argument.default for argument in REPLAY_ARGUMENTS} | given)
    nodes = replay_nodes(resolved)
    assert [node.name for node in nodes] == ["chunk_executor", "policy", "player"]
    assert_same(launched(given, "replay"), nodes, resolved["namespace"], bringup.environment("sim", resolved["clock"]))


def test_launch_of_a_replay_ends_with_its_player_and_names_what_the_bag_lacks(launched: Any, tmp_path: Path) -> None:
    actions = launched({"bag": str(GOLDEN)}, "replay")
    assert [action.args[0] for action in actions["DeclareLaunchArgument"]] == [argument.name for argument in REPLAY_ARGUMENTS]
    (handler,) = actions["RegisterEventHandler"]
    on_exit = handler.args[0].options["on_exit"]
    ended = {
        name: on_exit(SimpleNamespace(returncode=code, process_name=f"{name}-1"), None) for name, code in (("player", 1), ("policy", 1))
    }
    assert [action.kind for action in ended["player"]] == ["Shutdown"]
    assert ended["policy"] is None
    with pytest.raises(UserMistake, match="expected a bag"):
        launched({"bag": str(tmp_path)}, "replay")


def test_launch_declares_every_argument(launched: Any) -> None:
    declared = {action.args[0]: action.options for action in launched({})["DeclareLaunchArgument"]}
    assert list(declared) == [argument.name for argument in ARGUMENTS]
    for argument in bringup.arguments(TASK):
        options = declared[argument.name]
        assert (options["default_value"], options["description"]) == (argument.default, argument.text)
        assert options.get("choices", []) == list(argument.choices)


def test_launch_records_with_rosbag2_where_it_is_installed(launched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"record": "true", "bag": "/tmp/bag", "namespace": "cell"}
    assert "recorder" in {node.options["name"] for node in launched(given)["Node"]}
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: object() if name == "ros2bag" else found(name, *rest))
    actions = launched(given)
    assert "recorder" not in {node.options["name"] for node in actions["Node"]}
    (command,) = (action.options["cmd"] for action in actions["ExecuteProcess"])
    assert command[:7] == ["ros2", "bag", "record", "--storage", "mcap", "--output", "/tmp/bag"]
    assert {"/cell/joint_states", "/cell/camera/front/image_raw", "/cell/lawam/status", "/diagnostics"} <= set(command)


def test_launch_opens_rviz_on_the_robots_links(launched: Any) -> None:
    assert not [node for node in launched({})["Node"] if node.options["package"] != "lawam_ros"]
    started = launched({"rviz": "true", "namespace": "cell", "view": "false"})["Node"]
    links, rviz = [node.options for node in started if node.options["package"] != "lawam_ros"]
    assert (links["package"], rviz["package"]) == ("robot_state_publisher", "rviz2")
    assert links["namespace"] == rviz["namespace"] == "cell"
    assert "<robot" in links["parameters"][0]["robot_description"]
    assert rviz["arguments"][0] == "-d" and Path(rviz["arguments"][1]).is_file()
    assert "subgoal_view" in [node.options["executable"] for node in started]


def test_launch_refuses_what_the_runner_refuses(launched: Any) -> None:
    with pytest.raises(UserMistake, match="expected a whole number"):
        launched({"seed": "many"})


@pytest.mark.parametrize(("code", "ends"), [(2, True), (3, True), (1, False), (-9, False), (0, False)])
def test_launch_ends_when_a_node_can_never_run_and_only_then(launched: Any, code: int, ends: bool) -> None:
    (handler,) = launched({})["RegisterEventHandler"]
    actions = handler.args[0].options["on_exit"](SimpleNamespace(returncode=code, process_name="policy-3"), None)
    assert [action.kind for action in actions or []] == (["Shutdown"] if ends else [])
