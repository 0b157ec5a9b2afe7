"""The recipe of the shipped model, in miniature: both stages in a row, killed in either, and the checkpoint of the end."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from toy_training import one_thread, shrunk_tiny, write_demonstrations

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import assets_dir
from lawam_ros.model.checkpoint import load_checkpoint, open_folder
from lawam_ros.model.facts import check_contract
from lawam_ros.training import trainer
from lawam_ros.training.metrics import read_metrics
from lawam_ros.training.tiny_recipe import TinyRecipe, ways_to_say
from lawam_ros.training.tiny_run import tiny_data
from lawam_ros.training.tiny_training import train_tiny

TASK = "franka_pick_place"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    one_thread()
    root = tmp_path_factory.mktemp("demonstrations")
    write_demonstrations(root / "train_short", TASK, (9, 8))
    write_demonstrations(root / "train_long", TASK, (12,), seed=2)
    write_demonstrations(root / "val", TASK, (6,), seed=1)
    return root


def small_recipe(policy_steps=3) -> TinyRecipe:
    usual = TinyRecipe(batch=2, world_model_batch=2, validation_starts=2, save_seconds=0.0)
    short = {"steps": 3, "report_every": 1, "evaluate_every": 3, "warmup_steps": 1}
    return replace(usual, world_model=replace(usual.world_model, **short), policy=replace(usual.policy, **short | {"steps": policy_steps}))


def run(data, out, resume=False, policy_steps=3, init=None):
    config = open_folder(init).config if init else shrunk_tiny()
    return train_tiny(load_contract(TASK), config, tiny_data(data), out, small_recipe(policy_steps), resume, init=init)


def figures(out):
    return [(stage, step, name, value) for stage, step, _, name, value in read_metrics(out / "metrics.csv") if name != "waiting"]


@pytest.fixture(scope="module")
def whole(data):
    return run(data, data / "whole")


def test_both_stages_leave_a_checkpoint_for_the_task(whole):
    checkpoint, contract = load_checkpoint(whole), load_contract(TASK)
    check_contract(checkpoint.facts, contract.task.policy, contract.robot.embodiment_id, "tiny")
    assert checkpoint.facts.inference_only and checkpoint.facts.data_sha256
    assert checkpoint.facts.training["episodes"] == {"train_long": 1, "train_short": 2}
    stages = {(stage, step) for stage, step, _, _ in figures(whole.parent)}
    assert stages == {(stage, step) for stage in ("world_model", "policy") for step in (1, 2, 3)}
    assert (whole.parent / "losses.png").is_file()


def test_data_are_found_by_name(tmp_path):
    (tmp_path / "training").mkdir()
    with pytest.raises(UserMistake, match=r"expected LeRobot datasets named val\.\.\. in"):
        tiny_data(tmp_path)


def test_every_task_is_said_in_several_ways():
    for task in ("franka_pick_place", "franka_drawer"):
        said = load_contract(task).task.instruction
        assert said == ways_to_say(said)[0] and len(set(ways_to_say(said))) >= 10
    assert ways_to_say("dance") == ("dance",)


@pytest.mark.parametrize("step", [2, 5])
def test_a_kill_in_either_stage_changes_nothing(data, whole, tmp_path, monkeypatch, step):
    """Killed in the backward pass of the second step of the world model, or of the policy."""
    shutil.copytree(whole.parent / "cache", tmp_path / "run" / "cache")
    backward, calls = trainer._Loop._backward, []

    def dies(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == step:
            raise SystemExit
        return backward(self, *args, **kwargs)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(trainer._Loop, "_backward", dies)
        run(data, tmp_path / "run")
    with pytest.raises(UserMistake, match="add --resume"):
        run(data, tmp_path / "run")
    again = run(data, tmp_path / "run", resume=True)
    assert figures(tmp_path / "run") == figures(whole.parent)
    ours, expected = (load_file(folder / "final_model" / "model.safetensors") for folder in (again, whole))
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_a_finished_run_goes_on_with_more_steps_and_more_data(data, whole, tmp_path):
    shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("whole"))
    shutil.copytree(whole.parent, tmp_path / "run")
    write_demonstrations(tmp_path / "data" / "train_taken_over", TASK, (10,), seed=3)
    longer = run(tmp_path / "data", tmp_path / "run", resume=True, policy_steps=5)
    assert load_checkpoint(longer).facts.training["episodes"] == {"train_long": 1, "train_short": 2, "train_taken_over": 1}
    before, after = (
        {step: value for stage, step, name, value in figures(out) if (stage, name) == ("policy", "total")}
        for out in (whole.parent, tmp_path / "run")
    )
    assert set(after) == {1, 2, 3, 4, 5}
    assert {step: after[step] for step in before} == before, "what was learned before is not learned again"


def test_a_shipped_checkpoint_goes_on_with_its_own_statistics_and_without_its_teacher(data, whole, tmp_path, capsys):
    write_demonstrations(tmp_path / "data" / "train_other", TASK, (9,), seed=4)
    write_demonstrations(tmp_path / "data" / "val", TASK, (6,), seed=5)
    further = run(tmp_path / "data", tmp_path / "run", init=whole)
    assert "without distillation" in capsys.readouterr().out
    assert {stage for stage, *_ in figures(tmp_path / "run")} == {"policy"}
    old, new = load_checkpoint(whole), load_checkpoint(further)
    assert (further / "dataset_statistics.json").read_bytes() == (whole / "dataset_statistics.json").read_bytes()
    assert new.facts.training["init"] == "checkpoint" and new.facts.training["episodes"] == {"train_other": 1}
    before, after = (load_file(folder / "final_model" / "model.safetensors") for folder in (whole, further))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    apart = max(float((before[name].float() - after[name].float()).abs().max()) for name in before)
    assert moved and apart < 0.02, "it began with these weights: three steps do not lead far"
    assert new.config.training == old.config.training
    with pytest.raises(UserMistake, match="--resume: expected --init .*checkpoint, as the run in .* began, got none"):
        run(data, tmp_path / "run", resume=True)
    longer = run(tmp_path / "data", tmp_path / "run", resume=True, policy_steps=4, init=whole)
    assert max(step for _, step, *_ in figures(longer.parent)) == 4


def test_a_checkpoint_of_another_robot_is_no_start(tmp_path):
    write_demonstrations(tmp_path / "train", TASK, (9,))
    write_demonstrations(tmp_path / "val", TASK, (6,))
    other = assets_dir() / "tiny_x1"
    with pytest.raises(UserMistake, match=r"expected a checkpoint with statistics of embodiment 'franka', it has new_embodiment"):
        run(tmp_path, tmp_path / "run", init=other)
