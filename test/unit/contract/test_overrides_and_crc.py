"""Overrides set existing keys only, and the CRC tells any two contracts apart."""

import copy
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import apply_override, contract_crc, load_contract
from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.yaml_fields import load_yaml

TASK = "franka_pick_place"
FILES = {
    "robot": load_yaml(config_dir() / "robots" / "franka_panda.yaml", "robot"),
    "task": load_yaml(config_dir() / "tasks" / f"{TASK}.yaml", "task"),
}


def merged() -> dict[str, Any]:
    return copy.deepcopy(FILES)


def test_crc_is_that_of_the_sorted_json_without_blanks() -> None:
    text = json.dumps(merged(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert load_contract(TASK).crc == zlib.crc32(text.encode("utf-8"))
    assert contract_crc({"b": 0.1, "a": ["é", 1]}) == zlib.crc32('{"a":["é",1],"b":0.1}'.encode())


def test_crc_does_not_depend_on_the_order_of_keys() -> None:
    backwards = {section: dict(reversed(content.items())) for section, content in reversed(merged().items())}
    assert contract_crc(backwards) == contract_crc(merged())


@pytest.mark.parametrize(
    "override",
    [
        "world.cube_size_m=0.041",
        "task.instruction='lift the cube'",
        "task.checkpoint=other",
        "task.policy.action_hz=19.5",
        "robot.tick_hz=200.0",
        "robot.budgets.camera_age_s=0.21",
        "robot.arms.arm.limits.fraction=0.31",
        "robot.cameras.front.latency_s=0.01",
    ],
)
def test_any_override_changes_the_crc_and_two_nodes_agree(override: str) -> None:
    contract = load_contract(TASK, overrides=[override])
    assert contract.crc != load_contract(TASK).crc
    assert contract.crc == load_contract(TASK, "franka_panda", [override]).crc


def test_overrides_arrive() -> None:
    contract = load_contract(TASK, overrides=["world.cube_size_m=0.05", "robot.tick_hz=100", "task.instruction=lift"])
    assert contract.task.world["cube_size_m"] == 0.05
    assert contract.robot.tick_hz == 100.0
    assert contract.task.instruction == "lift"


def test_world_is_short_for_task_world() -> None:
    assert (
        load_contract(TASK, overrides=["world.cube_size_m=0.05"]).crc == load_contract(TASK, overrides=["task.world.cube_size_m=0.05"]).crc
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("world.cube_sise_m=0.05", r"no key 'task\.world\.cube_sise_m'; here exist .*cube_size_m"),
        ("robot.arms.left.home_rad=[0]", "no key 'robot.arms.left.home_rad'; here exist nothing"),
        ("robot.tick_hz.x=1", "here exist nothing"),
        ("scene.cube=1", "expected an override like"),
        ("world.cube_size_m", "expected an override like"),
        ("robot=1", "expected an override like"),
        ("=1", "expected an override like"),
        ("", "expected an override like"),
        ("world.cube_size_m=[1", "the value is not valid YAML"),
        ("robot.tick_hz=fast", "tick_hz: expected a number"),
        ("robot.tick_hz=1e9", "tick_hz: expected a number"),
        ("robot.arms.arm.limits={}", "is missing"),
        ("world=5", "world: expected a mapping"),
        ("world.cube_size_m=2024-01-01", "expected finite numbers"),
        ("world.cube_size_m=.nan", "expected finite numbers"),
        ("world.cube_rgb={1: 2, a: 3}", "expected finite numbers"),
    ],
)
def test_wrong_overrides_are_refused(override: str, expected: str) -> None:
    with pytest.raises(UserMistake, match=expected):
        load_contract(TASK, overrides=[override])


@given(st.text(max_size=60))
def test_no_text_ends_in_anything_but_a_user_mistake(text: str) -> None:
    before = merged()
    after = merged()
    try:
        apply_override(after, text)
    except UserMistake:
        assert after == before
