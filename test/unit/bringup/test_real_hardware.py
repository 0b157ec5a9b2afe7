"""hardware:=mock and hardware:=real: which nodes, which driver, and everything that is refused before anything starts."""

import copy
import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest
import yaml

from lawam_ros import bringup
from lawam_ros.contract import controllers, installation
from lawam_ros.contract.controllers import JOINT_TRAJECTORY, check_controllers, check_type
from lawam_ros.contract.drivers import driver_of
from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.robot_file import robot_from_mapping
from lawam_ros.contract.yaml_fields import load_yaml

TASK, X1 = "franka_pick_place", "x1_towel_fold"
FILE = config_dir() / "controllers" / "franka_fr3.yaml"


def values(**changes):
    return bringup.defaults(TASK) | {"robot": "franka_fr3", "hardware": "real", "robot_ip": "172.16.0.2"} | changes


@pytest.fixture
def official(monkeypatch):
    """As if an official ROS 2 were installed."""
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: None)


def test_a_bridge_is_recorded_and_its_set_points_never_under_their_own_name():
    wanted = bringup.defaults(X1) | {"hardware": "mock", "record": "true"}
    for back_end, bridged in (("mock", True), ("", False)):
        given = wanted | {"backend": back_end}
        recorder = next(node for node in bringup.nodes_for(X1, given) if node.name == "recorder")
        assert recorder.parameters["bridge"] is bridged
        command = bringup.bag_command(X1, given)
        assert ("/x1_bridge/reference" in command) is bridged
        assert ("/lawam/controller_active" in command) is bridged
        assert "/x1_bridge/set_points" not in command


def test_mock_is_the_same_graph_with_another_robot():
    nodes = {node.name: node for node in bringup.nodes_for(TASK, values(hardware="mock", images="data#1"))}
    simulated = {node.name: node for node in bringup.nodes_for(TASK, values(hardware="sim"))}
    assert list(nodes) == ["mock", "chunk_executor", "policy", "subgoal_view"]
    assert nodes["mock"].parameters["images"] == "data#1"
    assert all(nodes[name] == simulated[name] for name in ("chunk_executor", "policy", "subgoal_view"))
    assert bringup.environment("mock")["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"


def test_the_ros_wheels_stay_away_from_hardware():
    if importlib.util.find_spec("ros_wheels_bootstrapper") is None:
        pytest.skip("this ROS 2 is an official one")
    with pytest.raises(EnvironmentLacks, match="nobody signs for"):
        bringup.nodes_for(TASK, values())


def test_real_starts_the_executor_for_hardware_and_nothing_that_stands_in(official):
    nodes = {node.name: node for node in bringup.nodes_for(TASK, values())}
    assert list(nodes) == ["chunk_executor", "policy", "subgoal_view"]
    assert nodes["chunk_executor"].parameters["hardware"] == "real"
    assert "reference_hz" not in nodes["chunk_executor"].parameters, "every tick: a recording has no other topic with every command"
    assert "hardware" not in nodes["policy"].parameters


def test_the_driver_is_franka_ros2_with_our_controllers():
    real = load_contract(TASK, "franka_fr3").robot.real
    driver = driver_of(real, "172.16.0.2", "/cell_1/left/")
    assert (driver.package, driver.launch_file) == ("franka_bringup", "launch/franka.launch.py")
    assert driver.arguments == {
        "robot_type": "fr3",
        "robot_ip": "172.16.0.2",
        "namespace": "cell_1/left",
        "load_gripper": "true",
        "use_fake_hardware": "false",
        "joint_state_rate": "100",
        "controllers_yaml": str(FILE),
    }
    manager = "/cell_1/left/controller_manager"
    assert driver.spawn == ("fr3_arm_controller", "--controller-manager", manager, "--param-file", str(FILE))
    assert driver_of(real, "x", "").spawn[2] == "/controller_manager"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"robot": "franka_panda"}, "robot franka_panda has no driver .* franka_ros2 on Jazzy drives the FR3 only"),
        ({"robot_ip": ""}, "robot_ip:=: expected the address"),
        ({"robot_ip": "a b"}, "robot_ip:=a b: expected the address"),
        ({"clock": "lockstep"}, "clock:=lockstep: expected hardware:=sim"),
        ({"set": "robot.real.controller=other"}, "franka_fr3.yaml: expected controller_manager to give controller other a type"),
        ({"set": "robot.real.output=pose"}, "JointTrajectoryController does not take the output pose"),
        ({"set": "robot.real.controllers=none.yaml"}, "unknown controllers 'none'"),
    ],
)
def test_what_real_refuses(official, changes, expected):
    with pytest.raises(UserMistake, match=expected) as refusal:
        bringup.nodes_for(TASK, values(**changes))
    assert "\n" not in str(refusal.value)


def x1_values(**changes):
    return bringup.defaults(X1) | {"hardware": "real"} | changes


@pytest.mark.parametrize("backend", ["", "sdk", "topics"])
def test_a_robot_with_a_bridge_is_driven_by_it(official, backend):
    nodes = {node.name: node for node in bringup.nodes_for(X1, x1_values(backend=backend))}
    assert list(nodes) == ["x1_bridge", "chunk_executor", "policy", "subgoal_view"]
    assert nodes["x1_bridge"].parameters["backend"] == (backend or "sdk")
    assert nodes["chunk_executor"].parameters["hardware"] == "real"
    assert bringup.driver_for(load_contract(X1), x1_values()) is None


def test_the_bridge_runs_without_a_robot_and_on_the_ros_wheels():
    nodes = {node.name: node for node in bringup.nodes_for(X1, x1_values(hardware="mock", backend="mock"))}
    assert list(nodes) == ["x1_bridge", "chunk_executor", "policy", "subgoal_view"]
    assert nodes["x1_bridge"].parameters["backend"] == "mock"
    assert nodes["chunk_executor"].parameters["hardware"] == "bridge_mock"
    assert "mock" in {node.name for node in bringup.nodes_for(X1, x1_values(hardware="mock"))}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"backend": "mock"}, "backend:=mock: expected sdk or topics with hardware:=real"),
        ({"backend": "sdk", "hardware": "mock"}, "backend:=sdk: expected mock with hardware:=mock"),
        ({"backend": "mock", "hardware": "sim"}, "backend:=mock: expected none with hardware:=sim"),
        ({"backend": "wire"}, "backend:=wire: expected"),
        ({"robot_ip": "10.0.0.1"}, "robot_ip:=10.0.0.1: expected none, the bridge of quanta_x1 finds it at x2://192.168.10.1:50051"),
        ({"set": "robot.bridge.command_topic=sim_controller/x"}, "expected a topic of a real robot"),
    ],
)
def test_what_a_bridge_refuses(official, changes, expected):
    with pytest.raises(UserMistake, match=expected) as refusal:
        bringup.nodes_for(X1, x1_values(**changes))
    assert "\n" not in str(refusal.value)


def test_a_back_end_needs_a_bridge(official):
    with pytest.raises(UserMistake, match="backend:=sdk: expected a robot with a bridge, franka_fr3 has no section 'bridge'"):
        bringup.nodes_for(TASK, values(backend="sdk"))


def test_one_robot_has_one_driver():
    mapping = copy.deepcopy(load_yaml(config_dir() / "robots" / "franka_fr3.yaml", "robot"))
    bridge = load_yaml(config_dir() / "robots" / "quanta_x1.yaml", "robot")["bridge"]
    mapping["bridge"] = bridge | {"topics": {"arm": bridge["topics"]["left"], "battery": ""}, "camera_streams": {}}
    with pytest.raises(UserMistake, match="expected a section 'real' or 'bridge', got both"):
        robot_from_mapping(mapping, "robot franka_fr3")


def test_lock_step_is_the_simulations():
    with pytest.raises(UserMistake, match="expected hardware:=sim"):
        bringup.nodes_for(TASK, values(hardware="mock", clock="lockstep"))


@pytest.mark.parametrize(
    "kind",
    [
        "forward_command_controller/ForwardCommandController",
        "position_controllers/JointGroupPositionController",
        "velocity_controllers/JointGroupVelocityController",
        "multi_interface_forward_command_controller/MultiInterfaceForwardCommandController",
    ],
)
@pytest.mark.parametrize("output", ["trajectory_window", "pose"])
def test_controllers_that_pass_numbers_on_are_refused(kind, output):
    real = load_contract(TASK, "franka_fr3", [f"robot.real.output={output}"]).robot.real
    with pytest.raises(UserMistake, match=f"{kind} passes every number on unlimited"):
        check_type(real, kind)


def test_each_output_has_its_controllers():
    windows = load_contract(TASK, "franka_fr3").robot.real
    poses = load_contract(TASK, "franka_fr3", ["robot.real.output=pose"]).robot.real
    check_type(windows, JOINT_TRAJECTORY)
    check_type(poses, "crisp_controllers/CartesianImpedanceController")
    with pytest.raises(UserMistake, match="does not take the output trajectory_window"):
        check_type(windows, "crisp_controllers/CartesianImpedanceController")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: p.update(joints=p["joints"][::-1]), "joints: expected fr3_joint1"),
        (lambda p: p.pop("interpolate_from_desired_state"), "interpolate_from_desired_state: expected true"),
        (lambda p: p.update(interpolation_method="none"), "interpolation_method: expected splines"),
        (lambda p: p.update(command_interfaces=["position", "velocity"]), "command_interfaces: expected one"),
    ],
)
def test_a_trajectory_controller_must_follow_windows(monkeypatch, tmp_path, change, expected):
    robot = load_contract(TASK, "franka_fr3").robot
    check_controllers(robot, robot.real)
    content = yaml.safe_load(FILE.read_text())
    change(content["/**"]["fr3_arm_controller"]["ros__parameters"])
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(controllers, "controllers_file", lambda real: tmp_path / "changed.yaml")
    with pytest.raises(UserMistake, match=expected):
        check_controllers(robot, robot.real)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda real: real["window"].update(lead_s=0.05), "lead_s: expected at least transport_s and two windows, 0.06 s, got 0.05"),
        (lambda real: real["window"].update(rate_hz=100.0), "rate_hz: expected a number between 25 and 50"),
        (lambda real: real.update(command_topic="/sim_controller/x"), "expected a topic of a real controller"),
        (lambda real: real.update(output="points"), "expected one of trajectory_window, pose"),
        (lambda real: real["gripper"].update(close_below_m=0.06), "expected close_below_m under open_above_m"),
        (lambda real: real["gripper"].update(colour="red"), "unknown key"),
    ],
)
def test_a_section_real_with_a_mistake_is_refused(change, expected):
    mapping = copy.deepcopy(load_yaml(config_dir() / "robots" / "franka_fr3.yaml", "robot"))
    change(mapping["real"])
    with pytest.raises(UserMistake, match=expected):
        robot_from_mapping(mapping, "robot franka_fr3")


def test_a_robot_of_two_arms_has_no_such_driver():
    mapping = load_yaml(config_dir() / "robots" / "two_pandas.yaml", "robot")
    mapping["real"] = load_yaml(config_dir() / "robots" / "franka_fr3.yaml", "robot")["real"]
    with pytest.raises(UserMistake, match="expected a robot with one arm, got 2"):
        robot_from_mapping(mapping, "robot two_pandas")


class NotFound(Exception):
    pass


@pytest.fixture
def stand_ins(monkeypatch):
    """Recording stand-ins of launch; ``share`` is where packages are, by name."""
    share = {}

    def share_directory(package):
        if package not in share:
            raise NotFound(package)
        return share[package]

    contents = {
        "launch": {},
        "launch.actions": {"IncludeLaunchDescription": lambda source, launch_arguments: ("include", source, dict(launch_arguments))},
        "launch.launch_description_sources": {"PythonLaunchDescriptionSource": lambda path: path},
        "launch_ros": {},
        "launch_ros.actions": {"Node": lambda **options: ("node", options)},
        "ament_index_python": {},
        "ament_index_python.packages": {"PackageNotFoundError": NotFound, "get_package_share_directory": share_directory},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["launch_ros"].actions = sys.modules["launch_ros.actions"]
    return SimpleNamespace(share=share)


def test_launch_includes_the_driver_and_spawns_the_controller(stand_ins):
    stand_ins.share["franka_bringup"] = "/opt/franka"
    driver = driver_of(load_contract(TASK, "franka_fr3").robot.real, "172.16.0.2", "")
    include, (_, spawner) = bringup.driver_actions(driver)
    assert include == ("include", "/opt/franka/launch/franka.launch.py", dict(driver.arguments))
    assert (spawner["package"], spawner["executable"], spawner["arguments"]) == ("controller_manager", "spawner", list(driver.spawn))


def test_launch_without_the_driver_names_it(stand_ins):
    driver = driver_of(load_contract(TASK, "franka_fr3").robot.real, "172.16.0.2", "")
    with pytest.raises(EnvironmentLacks, match="needs the package franka_bringup, which is not installed"):
        bringup.driver_actions(driver)
