"""The layouts for Foxglove against what the viewer forwards."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.recorded_topics import recorded_topics
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.robot_file import robot_from_mapping
from lawam_ros.contract.view_topics import view_topics
from lawam_ros.contract.yaml_fields import load_yaml

PANELS = {"3D", "Image", "Plot", "DiagnosticSummary"}
ROBOTS = [("franka", "franka_panda"), ("x1", "quanta_x1")]


def content(name: str) -> dict[str, Any]:
    return dict(json.loads((config_dir() / "foxglove" / f"{name}.json").read_text(encoding="utf-8")))


def robot(name: str) -> Robot:
    return robot_from_mapping(load_yaml(config_dir() / "robots" / f"{name}.yaml", "robot"), name)


def leaves(tree: Any) -> Iterator[str]:
    """Panels in a tree of splits."""
    if isinstance(tree, str):
        yield tree
    else:
        assert tree["direction"] in ("row", "column") and 0 < tree["splitPercentage"] < 100
        yield from leaves(tree["first"])
        yield from leaves(tree["second"])


def topics(config: Any) -> Iterator[str]:
    """Whatever in a panel's settings is a topic."""
    if isinstance(config, str):
        yield from re.findall(r"^/[a-z_/]+[a-z_]", config.split(".")[0])
    elif isinstance(config, dict):
        for key, value in config.items():
            yield from topics(key)
            yield from topics(value)
    elif isinstance(config, list):
        for value in config:
            yield from topics(value)


def test_there_is_a_layout_for_every_rviz_file() -> None:
    stems = [sorted(path.stem for path in (config_dir() / folder).iterdir()) for folder in ("foxglove", "rviz")]
    assert stems[0] == stems[1] == [name for name, _ in ROBOTS]


@pytest.mark.parametrize("name", [name for name, _ in ROBOTS])
def test_every_panel_is_placed_once_and_of_a_known_kind(name: str) -> None:
    layout = content(name)
    placed = list(leaves(layout["layout"]))
    assert sorted(placed) == sorted(layout["configById"])
    assert {panel.split("!")[0] for panel in placed} == PANELS


@pytest.mark.parametrize(("name", "robot_name"), ROBOTS)
def test_everything_drawn_is_shown_and_nothing_that_is_not_forwarded(name: str, robot_name: str) -> None:
    known = {f"/{topic.name.lstrip('/')}" for topic in (*recorded_topics(robot(robot_name)), *view_topics(robot(robot_name)))}
    shown = set(topics(content(name)["configById"]))
    assert {f"/{topic.name}" for topic in view_topics(robot(robot_name))} <= shown <= known


@pytest.mark.parametrize(("name", "robot_name"), ROBOTS)
def test_scene_and_joints_are_those_of_the_robot(name: str, robot_name: str) -> None:
    panels, wanted = content(name)["configById"], robot(robot_name)
    assert panels["3D!scene"]["followTf"] == wanted.base_frame
    labels = {int(re.findall(r"\[(\d+)\]$", path["value"])[0]): path["label"] for path in panels["Plot!joints"]["paths"]}
    assert labels == dict(enumerate(wanted.joint_names))
