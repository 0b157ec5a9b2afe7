"""The rviz files against what rviz2's displays are called and take, and against what the nodes publish.

There is no rviz where these tests run: classes, keys and choices are those of rviz_default_plugins in ROS 2 Jazzy.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import config_dir, urdf_dir
from lawam_ros.contract.recorded_topics import recorded_topics
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.robot_file import robot_from_mapping
from lawam_ros.contract.rviz import ForeignNode, rviz_file, rviz_nodes
from lawam_ros.contract.view_topics import MARKER_NAMESPACES, overlay_topic, view_topics
from lawam_ros.contract.yaml_fields import load_yaml
from lawam_ros.control.link_frames import LinkFrames

FILES = sorted((config_dir() / "rviz").glob("*.rviz"))
COMMON = {"Class", "Name", "Enabled", "Value"}
KEYS = {
    "rviz_default_plugins/Grid": {"Cell Size", "Plane Cell Count"},
    "rviz_default_plugins/RobotModel": {
        "Alpha", "Description Source", "Description Topic", "Visual Enabled", "Collision Enabled", "TF Prefix", "Update Interval",
    },
    "rviz_default_plugins/TF": {"Show Names", "Marker Scale"},
    "rviz_default_plugins/MarkerArray": {"Topic", "Namespaces"},
    "rviz_default_plugins/Image": {"Topic", "Normalize Range", "Min Value", "Max Value", "Median window"},
}  # fmt: skip
TYPES = {
    "rviz_default_plugins/RobotModel": "std_msgs/msg/String",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
}
PANELS = {f"rviz_common/{name}" for name in ("Displays", "Views", "Time", "Tool Properties", "Selection")}
TOOLS = {f"rviz_default_plugins/{name}" for name in ("Interact", "MoveCamera", "Select", "FocusCamera", "Measure")}
POLICIES = {
    "History Policy": {"Keep Last", "Keep All"},
    "Reliability Policy": {"Reliable", "Best Effort", "System Default"},
    "Durability Policy": {"Volatile", "Transient Local", "System Default"},
}


def robots_of(path: Path) -> list[Robot]:
    """Robots that this file is for."""
    names = [file.stem for file in sorted((config_dir() / "robots").glob("*.yaml")) if path.stem in file.stem]
    return [robot_from_mapping(load_yaml(config_dir() / "robots" / f"{name}.yaml", "robot"), name) for name in names]


def displays(path: Path) -> list[dict[str, Any]]:
    manager = yaml.safe_load(path.read_text(encoding="utf-8"))["Visualization Manager"]
    return list(manager["Displays"])


def topics(display: dict[str, Any]) -> list[dict[str, Any]]:
    return [display[key] for key in ("Topic", "Description Topic") if key in display]


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def file(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_there_is_a_file_for_franka_and_one_for_the_x1() -> None:
    assert [path.name for path in FILES] == ["franka.rviz", "x1.rviz"]
    assert all(robots_of(path) for path in FILES)


def test_displays_have_the_keys_of_their_class(file: Path) -> None:
    for display in displays(file):
        assert display["Class"] in KEYS, display["Name"]
        assert set(display) == COMMON | KEYS[display["Class"]], display["Name"]
        assert display["Value"] == display["Enabled"]
    names = [display["Name"] for display in displays(file)]
    assert len(set(names)) == len(names)
    assert {display["Class"] for display in displays(file)} == set(KEYS)


def test_panels_tools_and_view_are_known_ones(file: Path) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert {panel["Class"] for panel in content["Panels"]} <= PANELS
    manager = content["Visualization Manager"]
    assert {tool["Class"] for tool in manager["Tools"]} <= TOOLS
    assert manager["Views"]["Current"]["Class"] == "rviz_default_plugins/Orbit"


def test_topics_are_published_with_what_the_display_asks_for(file: Path) -> None:
    for robot in robots_of(file):
        published = {topic.name: topic for topic in (*recorded_topics(robot), *view_topics(robot))}
        for display in displays(file):
            for wanted in topics(display):
                assert set(wanted) == {"Value", "Depth", *POLICIES}
                assert all(wanted[policy] in known for policy, known in POLICIES.items())
                topic = published[wanted["Value"]]
                assert topic.type == TYPES[display["Class"]]
                # Everything shown is published reliable; a latched topic needs a reader that asks for what was said before it came.
                assert (wanted["Durability Policy"] == "Transient Local") == topic.latched


def test_every_camera_and_the_subgoal_are_shown(file: Path) -> None:
    shown = {topic["Value"] for display in displays(file) for topic in topics(display)}
    for robot in robots_of(file):
        assert {topic.name for topic in view_topics(robot)} <= shown
        assert {overlay_topic(camera.name) for camera in robot.cameras} <= shown


def test_namespaces_and_fixed_frame_exist(file: Path) -> None:
    markers = next(display for display in displays(file) if display["Class"] == "rviz_default_plugins/MarkerArray")
    assert set(markers["Namespaces"]) == set(MARKER_NAMESPACES)
    frame = yaml.safe_load(file.read_text(encoding="utf-8"))["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert frame in {link for robot in robots_of(file) for link in LinkFrames((urdf_dir() / robot.urdf).read_text()).links}


def test_rviz_is_started_with_the_robots_frame_and_links() -> None:
    robot = load_contract("franka_pick_place").robot
    links, rviz = rviz_nodes(robot, driver_describes=False, stepped=True)
    assert rviz == ForeignNode(
        "rviz2", "rviz2", ("-d", str(config_dir() / "rviz" / "franka.rviz"), "-f", "panda_link0"), {"use_sim_time": True}
    )
    assert links.package == "robot_state_publisher" and links.remappings == {"joint_states": "joint_states"}
    assert str(links.parameters["robot_description"]).startswith("<?xml")
    assert [node.package for node in rviz_nodes(robot, driver_describes=True, stepped=False)] == ["rviz2"]


def test_a_robot_without_a_file_is_told_what_to_do() -> None:
    robot = robot_from_mapping(load_yaml(config_dir() / "robots" / "two_pandas.yaml", "robot"), "robot")
    with pytest.raises(UserMistake, match="config/rviz whose name is part of two_pandas"):
        rviz_file(robot)
