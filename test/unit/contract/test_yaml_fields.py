"""Configuration is refused with a sentence that names the file, the key, what was expected and what came."""

from pathlib import Path

import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.yaml_fields import Fields, load_yaml


def test_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    for name in ("beta", "alpha"):
        (tmp_path / f"{name}.yaml").write_text("a: 1\n")
    with pytest.raises(UserMistake, match="unknown robot 'gamma': expected one of alpha, beta"):
        load_yaml(tmp_path / "gamma.yaml", "robot")


@pytest.mark.parametrize(("text", "expected"), [("a: [1", "not valid YAML"), ("- 1\n- 2\n", "expected a mapping at the top, got list")])
def test_files_that_are_no_mapping(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "robot.yaml").write_text(text)
    with pytest.raises(UserMistake, match=expected):
        load_yaml(tmp_path / "robot.yaml", "robot")


@pytest.mark.parametrize("value", ["1", True, None, [1], -0.1, 2.1, float("nan"), float("inf")])
def test_number_refuses_other_types_and_values_out_of_range(value: object) -> None:
    with pytest.raises(UserMistake, match=r"f\.rate: expected a number between 0 and 2, got"):
        Fields({"rate": value}, "f").number("rate", 0.0, 2.0)


def test_number_takes_both_ends_and_whole_numbers() -> None:
    fields = Fields({"low": 0, "high": 2.0}, "f")
    assert fields.number("low", 0.0, 2.0) == 0.0
    assert isinstance(fields.number("low", 0.0, 2.0), float)
    assert fields.number("high", 0.0, 2.0) == 2.0


@pytest.mark.parametrize("value", [1.0, "1", True, None, 0, 4])
def test_integer_refuses_other_types_and_values_out_of_range(value: object) -> None:
    with pytest.raises(UserMistake, match=r"f\.count: expected an integer between 1 and 3, got"):
        Fields({"count": value}, "f").integer("count", 1, 3)


@pytest.mark.parametrize("value", ["true", 1, None])
def test_flag_is_strict(value: object) -> None:
    with pytest.raises(UserMistake, match="expected true or false"):
        Fields({"on": value}, "f").flag("on")


@pytest.mark.parametrize("value", ["", "  ", 3, None, ["a"]])
def test_text_is_never_empty(value: object) -> None:
    with pytest.raises(UserMistake, match=r"f\.name: expected a non-empty text"):
        Fields({"name": value}, "f").text("name")


@pytest.mark.parametrize(("value", "expected"), [("a", "list of names"), (["a", 1], "list of names"), (["a", "a"], "appears twice")])
def test_texts_refuse_other_types_and_repeated_names(value: object, expected: str) -> None:
    with pytest.raises(UserMistake, match=expected):
        Fields({"joints": value}, "f").texts("joints")


@pytest.mark.parametrize(
    "value", [[1.0], [1.0, 2.0, 3.0], [1.0, float("nan")], "ab", 1.0, [1.0, None], ["1", "2"], [True, False], [[1, 2]]]
)
def test_vector_refuses_wrong_lengths_and_anything_but_finite_numbers(value: object) -> None:
    with pytest.raises(UserMistake, match=r"f\.v: expected 2 finite numbers, got"):
        Fields({"v": value}, "f").vector("v", 2)


def test_vector_cannot_be_written_to() -> None:
    vector = Fields({"v": [1, 2]}, "f").vector("v", 2)
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 5.0


def test_missing_and_unknown_keys_are_named() -> None:
    fields = Fields({"velocity": 1.0, "velocitty": 2.0}, "robot x.limits")
    with pytest.raises(UserMistake, match=r"robot x\.limits: key 'acceleration' is missing"):
        fields.number("acceleration", 0.0, 1.0)
    fields.number("velocity", 0.0, 1.0)
    with pytest.raises(UserMistake, match=r"unknown key\(s\) velocitty; expected acceleration, velocity"):
        fields.done()


def test_choice_names_what_is_allowed() -> None:
    with pytest.raises(UserMistake, match=r"f\.kind: expected one of a, b, got 'c'"):
        Fields({"kind": "c"}, "f").choice("kind", ("a", "b"))


@pytest.mark.parametrize("value", [None, 3, [], {}])
def test_children_need_named_entries(value: object) -> None:
    with pytest.raises(UserMistake, match=r"f\.arms: expected named entries"):
        Fields({"arms": value}, "f").children("arms")


def test_children_come_in_file_order() -> None:
    assert [name for name, _ in Fields({"arms": {"right": {}, "left": {}}}, "f").children("arms")] == ["right", "left"]
