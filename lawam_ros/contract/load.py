"""One robot and one task put together: loading, overrides and the number by which two nodes know they mean the same."""

import copy
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.robot_file import robot_from_mapping
from lawam_ros.contract.task import Task, task_from_mapping
from lawam_ros.contract.yaml_fields import load_yaml


@dataclass(frozen=True)
class Contract:
    """Robot and task after overrides; ``crc`` is what ``chunk/contract`` on the wire must equal."""

    robot: Robot
    task: Task
    crc: int


def listed(text: str) -> list[str]:
    """Entries of a parameter or launch argument that lists them between semicolons, such as ``overrides``."""
    return [entry for entry in text.split(";") if entry.strip()]


def load_contract(task_name: str, robot_name: str | None = None, overrides: Sequence[str] = ()) -> Contract:
    """Contract of a task on a robot (default: the task's first).

    overrides: ``SECTION.KEY=VALUE`` with section ``robot``, ``task`` or ``world`` (short for ``task.world``) and YAML values. Only existing
    keys can be set. Raises UserMistake for unknown names, keys and values out of range.
    """
    task_mapping = load_yaml(config_dir() / "tasks" / f"{task_name}.yaml", "task")
    robots = task_mapping.get("robots") or ["?"]
    robot_name = robot_name or str(robots[0])
    robot_mapping = load_yaml(config_dir() / "robots" / f"{robot_name}.yaml", "robot")
    merged = {"robot": robot_mapping, "task": task_mapping}
    for override in overrides:
        apply_override(merged, override)
    robot = robot_from_mapping(merged["robot"], f"robot {robot_name}")
    task = task_from_mapping(merged["task"], f"task {task_name}")
    if robot.name not in task.robots:
        raise UserMistake(f"task {task.name} runs on {', '.join(task.robots)}, got robot {robot.name}")
    for camera in task.policy.primary_cameras + task.policy.wrist_cameras:
        robot.camera(camera)
    return Contract(robot=robot, task=task, crc=contract_crc(merged))


def contract_crc(merged: dict[str, Any]) -> int:
    """CRC-32 of the UTF-8 JSON with sorted keys, no blanks and floats by ``repr``. Raises UserMistake for what JSON lacks (dates, nan)."""
    try:
        text = json.dumps(merged, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return zlib.crc32(text.encode())
    except (TypeError, ValueError) as error:
        raise UserMistake(f"expected finite numbers, texts, lists and named entries in robot, task and overrides ({error})") from error


def apply_override(merged: dict[str, Any], override: str) -> None:
    """Set one existing key of ``{"robot": ..., "task": ...}`` in place."""
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if path[0] == "world":
        path = ["task", *path]
    if not equals or len(path) < 2 or path[0] not in merged:
        raise UserMistake(
            f"expected an override like world.cube_size_m=0.05, robot.tick_hz=100 or task.instruction='...', got {override!r}"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserMistake(f"override {override!r}: the value is not valid YAML") from error
    node: Any = merged
    for part in path[:-1]:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict) or path[-1] not in node:
        known = ", ".join(sorted(map(str, node))) if isinstance(node, dict) else "nothing"
        raise UserMistake(f"override {override!r}: there is no key '{'.'.join(path)}'; here exist {known}")
    node[path[-1]] = copy.deepcopy(value)
