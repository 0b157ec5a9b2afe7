"""The one table of which nodes make up a task. ``ros2 launch`` and the runner behind ``lawam demo`` both start what it says."""

import importlib.util
import os
import posixpath
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lawam_ros.contract.bridge import BACK_ENDS, MOCK, SDK
from lawam_ros.contract.controllers import check_controllers
from lawam_ros.contract.drivers import Driver, driver_of
from lawam_ros.contract.errors import EXIT_ENVIRONMENT_LACKS, EXIT_USER_MISTAKE, EnvironmentLacks, UserMistake
from lawam_ros.contract.installation import refuse_ros_wheels
from lawam_ros.contract.load import Contract, listed, load_contract
from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.recorded_topics import recorded_topics
from lawam_ros.contract.rviz import ForeignNode, rviz_nodes
from lawam_ros.contract.transport import IMAGES, PROFILE_VARIABLES, SHARING
from lawam_ros.contract.viewers import VIEWERS

Value = bool | int | float | str

PACKAGE = "lawam_ros"
RESPAWN_DELAY_S = 2.0
SEED_MAX = 2**31 - 1
LATENCY_MAX_S = 5.0
_SIMULATED_REFERENCE_HZ = 125.0
_NAMESPACE = re.compile(r"/?([A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*)?/?")


@dataclass(frozen=True)
class Argument:
    """One launch argument; ``choices`` empty means any text."""

    name: str
    default: str
    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeSpec:
    """One process: an executable of this package, its node name, parameters, and whether it is started again when it dies."""

    executable: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    respawn: bool = False

    @property
    def name(self) -> str:
        return self.executable


ARGUMENTS = (
    Argument(
        "hardware",
        "sim",
        "Where commands go: sim is a MuJoCo world behind the robot's topics, mock the same topics without physics, real the robot.",
        ("sim", "mock", "real"),
    ),
    Argument("robot_ip", "", "Address of the robot, with hardware:=real and a driver of ros2_control."),
    Argument(
        "backend",
        "",
        "Of a robot with a bridge: sdk or topics with hardware:=real, empty for sdk; mock with hardware:=mock, the bridge without a robot.",
        ("", *BACK_ENDS),
    ),
    Argument("images", "", "What the mock's cameras show: <dataset folder>#<episode number>; empty shows a test card."),
    Argument("robot", "", "Robot, a file in config/robots."),
    Argument(
        "checkpoint",
        "",
        "Checkpoint folder, name of a shipped one, a server (ws://, http:// or tcp://host:port), or recorded:<dataset>#<episode>.",
    ),
    Argument("instruction", "", "What the policy is asked to do. With an empty one the arm waits for the topic instruction."),
    Argument("namespace", "", "Namespace of every node and topic."),
    Argument("device", "auto", "Device of the model.", ("auto", "cpu", "cuda")),
    Argument("seed", "0", "Seed of the simulated world and of the policy's noise."),
    Argument("set", "", "Contract overrides such as world.cube_size_m=0.05, separated by semicolons."),
    Argument(
        "clock",
        "steady",
        "steady runs in real time; lockstep lets the simulation wait for everybody, so that a run repeats exactly.",
        ("steady", "lockstep"),
    ),
    Argument("rtc", "true", "Real-time chunking: chunks continue what is executed of the last one.", ("true", "false")),
    Argument("latency_s", "0.1", "In lock step, from an observation to the use of its chunk, in s."),
    Argument("view", "true", "Draw what the policy foresees and where it sends the arm.", ("true", "false")),
    Argument("rviz", "false", "Open rviz on it.", ("true", "false")),
    Argument("viewer", "none", "Where there is no rviz: serve the same view to Foxglove or as a Rerun page.", ("none", *VIEWERS)),
    Argument("record", "false", "Record everything into a bag.", ("true", "false")),
    Argument("bag", "", "Folder of the bag to record; empty takes bags/<task>_<date>_<time>."),
)


def arguments(task: str) -> tuple[Argument, ...]:
    """The launch arguments with the task's own robot, checkpoint and instruction as defaults. Raises UserMistake for an unknown task."""
    contract = load_contract(task)
    own = {"robot": contract.robot.name, "checkpoint": contract.task.checkpoint, "instruction": contract.task.instruction}
    return tuple(replace(argument, default=own.get(argument.name, argument.default)) for argument in ARGUMENTS)


def defaults(task: str) -> dict[str, str]:
    return {argument.name: argument.default for argument in arguments(task)}


def check_arguments(values: Mapping[str, str]) -> None:
    """Raises UserMistake for an unknown argument or a value outside its choices."""
    known = {argument.name: argument for argument in ARGUMENTS}
    if values.get("hardware") == "real":
        refuse_ros_wheels()
    for name, value in values.items():
        if name not in known:
            raise UserMistake(f"unknown launch argument '{name}': expected one of {', '.join(known)}")
        if known[name].choices and value not in known[name].choices:
            raise UserMistake(f"{name}:={value}: expected {' or '.join(known[name].choices)}")
    seed, namespace = values.get("seed", "0"), values.get("namespace", "")
    if not (seed.isascii() and seed.isdecimal() and int(seed) <= SEED_MAX):
        raise UserMistake(f"seed:={seed}: expected a whole number from 0 to {SEED_MAX}")
    latency = values.get("latency_s", "0")
    if not (re.fullmatch(r"\d+(\.\d*)?", latency) and float(latency) <= LATENCY_MAX_S):
        raise UserMistake(f"latency_s:={latency}: expected a number from 0 to {LATENCY_MAX_S:g}")
    if values.get("clock") == "lockstep" and values.get("hardware", "sim") != "sim":
        raise UserMistake(f"clock:=lockstep: expected hardware:=sim, where the simulation waits, got hardware:={values['hardware']}")
    if not _NAMESPACE.fullmatch(namespace):
        raise UserMistake(f"namespace:={namespace}: expected names of letters, digits and underscores separated by /, such as cell_1/left")


def contract_for(task: str, values: Mapping[str, str]) -> Contract:
    overrides = listed(values["set"])
    return load_contract(task, values["robot"] or None, overrides)


def nodes_for(task: str, values: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """Nodes of a task with resolved parameters. ``values`` holds every argument. Raises UserMistake."""
    check_arguments(values)
    contract = contract_for(task, values)
    driver_for(contract, values)
    bridged = back_end_for(contract, values)
    common: dict[str, Value] = {"task": task, "robot": contract.robot.name, "overrides": values["set"]}
    seed = int(values["seed"])
    timed: dict[str, Value] = dict(common)
    if values["clock"] == "lockstep":
        timed |= {"lockstep": True, "lockstep_latency_s": float(values["latency_s"])}
    driven: dict[str, list[NodeSpec]] = {
        "sim": [NodeSpec("sim", {**timed, "seed": seed})],
        "mock": [NodeSpec("mock", {**common, "images": values["images"]})],
        "real": [],
    }
    # A real robot's recording has no other topic with every command.
    obeyed: dict[str, Value] = {"hardware": "real"} if values["hardware"] == "real" else {"reference_hz": _SIMULATED_REFERENCE_HZ}
    if bridged and contract.robot.bridge is not None:
        driven[values["hardware"]] = [NodeSpec(contract.robot.bridge.node, {**common, "backend": bridged})]
        obeyed = {"hardware": "bridge_mock" if bridged == MOCK else "real"}
    # The first to start and the last to be stopped, so that a recording shows how the arm came to rest.
    recorded: dict[str, Value] = {"bag": values["bag"], "bridge": bool(bridged)}
    nodes = [NodeSpec("recorder", {**timed, **recorded})] if values["record"] == "true" else []
    nodes += [
        *driven[values["hardware"]],
        NodeSpec("chunk_executor", {**timed, "instruction": values["instruction"], "await_policy": values["clock"] == "steady", **obeyed}),
        NodeSpec(
            "policy",
            {
                **timed,
                "checkpoint": values["checkpoint"],
                "device": values["device"],
                "rtc": values["rtc"] == "true",
                "seed": seed,
            },
            respawn=True,
        ),
    ]
    watched = "true" in (values["view"], values["rviz"]) or values["viewer"] != "none"
    if watched:
        nodes.append(NodeSpec("subgoal_view", common))
    if values["viewer"] != "none":
        nodes.append(NodeSpec("viewer", {**common, "viewer": values["viewer"]}))
    return tuple(nodes)


def foreign_nodes_for(task: str, values: Mapping[str, str]) -> tuple[ForeignNode, ...]:
    """Processes of other ROS packages that ``ros2 launch`` starts besides. Raises UserMistake."""
    if values["rviz"] != "true":
        return ()
    robot = contract_for(task, values).robot
    driver_describes = values["hardware"] == "real" and robot.real is not None
    return rviz_nodes(robot, driver_describes, values["clock"] == "lockstep")


def bag_command(task: str, values: Mapping[str, str]) -> list[str]:
    """``ros2 bag record`` of what the node ``recorder`` records under its own name, for installations that have it."""
    folder = values["bag"] or f"bags/{task}_{time.strftime('%Y%m%d_%H%M%S')}"
    namespace = "/" + values["namespace"].strip("/")
    contract = contract_for(task, values)
    recorded = recorded_topics(contract.robot, bridged=bool(back_end_for(contract, values)))
    topics = [posixpath.join(namespace, topic.name) for topic in recorded if not topic.kept_as]
    return ["ros2", "bag", "record", "--storage", "mcap", "--output", folder, "--topics", *topics]


def back_end_for(contract: Contract, values: Mapping[str, str]) -> str:
    """Back end of the bridge that drives the robot or its mock, empty where no bridge does. Raises UserMistake where it cannot be."""
    hardware, wanted = values["hardware"], values["backend"]
    possible = {"real": tuple(name for name in BACK_ENDS if name != MOCK), "mock": (MOCK,)}.get(hardware, ())
    if wanted and contract.robot.bridge is None:
        raise UserMistake(f"backend:={wanted}: expected a robot with a bridge, {contract.robot.name} has no section 'bridge' in its file")
    if wanted and wanted not in possible:
        raise UserMistake(f"backend:={wanted}: expected {' or '.join(possible) or 'none'} with hardware:={hardware}")
    return wanted or (SDK if hardware == "real" and contract.robot.bridge is not None else "")


def driver_for(contract: Contract, values: Mapping[str, str]) -> Driver | None:
    """Driver of the real robot, None where there is no robot or a bridge of ours drives it.

    Raises UserMistake where the robot has neither, or is not to be driven like this.
    """
    robot, real = contract.robot, contract.robot.real
    if values["hardware"] != "real":
        return None
    if robot.bridge is not None:
        if values["robot_ip"]:
            raise UserMistake(
                f"robot_ip:={values['robot_ip']}: expected none, the bridge of {robot.name} finds it at {robot.bridge.sdk_address}; "
                "elsewhere set:=robot.bridge.sdk_address=..."
            )
        return None
    if real is None:
        raise UserMistake(
            f"hardware:=real: robot {robot.name} has no driver (no section 'real' or 'bridge' in its file); franka_ros2 on Jazzy drives "
            "the FR3 only: robot:=franka_fr3"
        )
    if not re.fullmatch(r"[A-Za-z0-9.:_-]+", values["robot_ip"]):
        raise UserMistake(f"robot_ip:={values['robot_ip']}: expected the address of the robot, such as 172.16.0.2")
    check_controllers(robot, real)
    return driver_of(real, values["robot_ip"], values["namespace"])


def environment(hardware: str, clock: str = "steady") -> dict[str, str]:
    """Variables of every process: a shared-memory transport that holds images, and no way out of this machine in simulation.

    In lock step the executor has its part in that, too: nobody is late there, and nothing may be lost.
    """
    variables = dict.fromkeys(PROFILE_VARIABLES, str(config_dir() / IMAGES)) | {SHARING: "on" if clock == "lockstep" else "off"}
    if hardware != "real":
        variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return {name: os.environ.get(name, value) if name in PROFILE_VARIABLES else value for name, value in variables.items()}


def driver_actions(driver: Driver) -> list[Any]:
    """Launch actions that start the driver and its controller. Raises EnvironmentLacks where its package is not installed."""
    import launch_ros.actions
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    try:
        share = get_package_share_directory(driver.package)
    except PackageNotFoundError as error:
        raise EnvironmentLacks(
            f"hardware:=real needs the package {driver.package}, which is not installed; build franka_ros2 for Jazzy and source it"
        ) from error
    source = PythonLaunchDescriptionSource(os.path.join(share, driver.launch_file))
    spawner = launch_ros.actions.Node(package="controller_manager", executable="spawner", arguments=list(driver.spawn), output="screen")
    return [IncludeLaunchDescription(source, launch_arguments=list(driver.arguments.items())), spawner]


def launch_description(task: str) -> Any:
    """LaunchDescription of a task. The arguments are resolved first, so that launch starts exactly the nodes of ``nodes_for``."""

    def further(values: Mapping[str, str]) -> list[Any]:
        driver = driver_for(contract_for(task, values), values)
        return [
            *(driver_actions(driver) if driver else []),
            *(_foreign_action(node, values["namespace"]) for node in foreign_nodes_for(task, values)),
        ]

    return described(arguments(task), lambda values: nodes_for(task, values), further)


def described(
    declared: Sequence[Argument],
    nodes_of: Callable[[Mapping[str, str]], Sequence[NodeSpec]],
    further: Callable[[Mapping[str, str]], list[Any]] = lambda values: [],
    ends_with: str = "",
) -> Any:
    """LaunchDescription of the nodes that ``nodes_of`` makes of the arguments. further: other actions; ends_with: a node."""
    import launch_ros.actions
    from launch import LaunchDescription
    from launch.actions import (
        DeclareLaunchArgument,
        ExecuteProcess,
        OpaqueFunction,
        RegisterEventHandler,
        SetEnvironmentVariable,
        Shutdown,
    )
    from launch.event_handlers import OnProcessExit
    from launch.substitutions import LaunchConfiguration

    def actions(context: Any) -> list[Any]:
        values = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in declared}
        variables = [
            SetEnvironmentVariable(name, value)
            for name, value in environment(values.get("hardware", "sim"), values.get("clock", "steady")).items()
        ]
        nodes = [process(node, values) for node in nodes_of(values)]
        return [*variables, RegisterEventHandler(OnProcessExit(on_exit=given_up)), *nodes, *further(values)]

    def process(node: NodeSpec, values: Mapping[str, str]) -> Any:
        if node.executable == "recorder" and importlib.util.find_spec("ros2bag") is not None:
            return ExecuteProcess(cmd=bag_command(str(node.parameters["task"]), values), output="screen")
        return launch_ros.actions.Node(
            package=PACKAGE,
            executable=node.executable,
            name=node.name,
            namespace=values["namespace"],
            parameters=[dict(node.parameters)],
            respawn=node.respawn,
            respawn_delay=RESPAWN_DELAY_S,
            output="screen",
        )

    def given_up(event: Any, context: Any) -> Any:
        """A node that names a mistake or something missing would end the same way again."""
        if event.returncode in (EXIT_USER_MISTAKE, EXIT_ENVIRONMENT_LACKS):
            return [Shutdown(reason=f"{event.process_name} cannot run, see its last line")]
        return [Shutdown(reason=f"{ends_with} is done")] if ends_with and event.process_name.startswith(ends_with) else None

    def as_action(argument: Argument) -> Any:
        choices = {"choices": list(argument.choices)} if argument.choices else {}
        return DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.text, **choices)

    return LaunchDescription([*(as_action(argument) for argument in declared), OpaqueFunction(function=actions)])


def _foreign_action(node: ForeignNode, namespace: str) -> Any:
    import launch_ros.actions

    return launch_ros.actions.Node(
        package=node.package,
        executable=node.executable,
        namespace=namespace,
        arguments=list(node.arguments),
        parameters=[dict(node.parameters)],
        remappings=list(node.remappings.items()),
        output="log",
    )
