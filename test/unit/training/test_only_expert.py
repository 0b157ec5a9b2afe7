"""The action expert trained alone: what it reads is worked out once, equals what a step works out, and nothing else moves."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from test_tiny_training import TASK, figures, small_recipe
from toy_training import FRONT, one_thread, shrunk_tiny, write_dataset, write_demonstrations, write_model, write_recipe

from lawam_ros.cli.main import main
from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.model.checkpoint import open_folder
from lawam_ros.training import stage2_run, tiny_training
from lawam_ros.training.frozen_context import FrozenContext, joined
from lawam_ros.training.metrics import read_metrics
from lawam_ros.training.tiny_run import tiny_data

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
WEIGHTS = "final_model/model.safetensors"


def moved(before, after) -> set[str]:
    """First words of the names of tensors that differ."""
    first, second = load_file(before / WEIGHTS), load_file(after / WEIGHTS)
    assert first.keys() == second.keys()
    return {name.removeprefix("policy_backend.").split(".")[0] for name in first if not torch.equal(first[name], second[name])}


def losses(out) -> dict[tuple[int, str], float]:
    return {(step, name): value for _, step, _, name, value in read_metrics(out / "metrics.csv") if name != "waiting"}


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """Two datasets of other rates, robots and numbers of cameras, so that prompts have two lengths, and a policy of both."""
    one_thread()
    root = tmp_path_factory.mktemp("toys")
    write_dataset(root / "ten_hz", fps=10)
    write_dataset(root / "twenty_hz", fps=20, lengths=(9, 10), state=2, action=6, cameras=(FRONT,), robot="agilex")
    write_model(root / "model.yaml")
    write_recipe(root / "recipe.yaml")
    assert train(root, root / "policy", "--model", str(root / "model.yaml"), "--steps", "1") == 0
    return root


def train(toys, out, *more) -> int:
    data = f"{toys / 'ten_hz'},{toys / 'twenty_hz'}"
    return main(["train", "stage2", "--data", data, "--out", str(out), "--recipe", str(toys / "recipe.yaml"), "--workers", "0", *more])


def expert(toys, out, steps) -> int:
    return train(toys, out, "--init", str(toys / "policy" / "checkpoint"), "--only-expert", "--statistics", "init", "--steps", str(steps))


def test_steps_from_what_is_kept_are_those_that_work_it_out(toys, tmp_path, monkeypatch):
    assert expert(toys, tmp_path / "kept", 3) == 0
    assert len(list((tmp_path / "kept" / "context").glob("*.safetensors"))) == 2
    with monkeypatch.context() as without:
        without.setattr(stage2_run, "with_context", lambda source, *_: source)
        assert expert(toys, tmp_path / "asked", 3) == 0
    kept, asked = losses(tmp_path / "kept"), losses(tmp_path / "asked")
    assert kept.keys() == asked.keys() and (3, "flow") in kept
    assert list(kept.values()) == pytest.approx(list(asked.values()), rel=1e-4)
    assert moved(toys / "policy" / "checkpoint", tmp_path / "kept" / "checkpoint") == {"flow"}


def test_a_run_that_goes_on_asks_the_language_model_nothing_again(toys, tmp_path, monkeypatch):
    assert expert(toys, tmp_path / "run", 2) == 0
    monkeypatch.setattr("lawam_ros.training.context_cache._context", lambda *_: pytest.fail("worked out again"))
    assert expert(toys, tmp_path / "run", 3) == 0
    assert (3, "flow") in losses(tmp_path / "run")


@pytest.mark.parametrize(
    "call",
    [
        ["stage1", "--data", "DATA", "--out", "OUT", "--only-expert"],
        ["stage2", "--data", "DATA", "--out", "OUT", "--only-expert"],
        ["tiny", "--data", "DATA", "--out", "OUT", "--only-expert"],
    ],
)
def test_without_a_policy_to_begin_with_it_is_refused(toys, tmp_path, capsys, call):
    places = {"DATA": str(toys / "ten_hz"), "OUT": str(tmp_path / "run")}
    assert main(["train", *(places.get(word, word) for word in call)]) == 2
    assert "--only-expert: expected" in capsys.readouterr().err


def test_the_small_recipe_trains_it_alone_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    one_thread()
    data, contract = tmp_path / "data", load_contract(TASK)
    write_demonstrations(data / "train", TASK, (9, 8))
    write_demonstrations(data / "val", TASK, (6,), seed=1)
    usual = small_recipe()
    whole = tiny_training.train_tiny(contract, shrunk_tiny(), tiny_data(data), tmp_path / "whole", usual, resume=False)

    alone = replace(usual, only_expert=True)

    def run(out, resume, recipe=alone):
        return tiny_training.train_tiny(contract, open_folder(whole).config, tiny_data(data), out, recipe, resume, init=whole)

    further = run(tmp_path / "further", resume=False)
    assert moved(whole, further) == {"flow"}
    facts = open_folder(further).facts
    assert facts is not None and facts.training["only_expert"] is True

    shutil.copytree(tmp_path / "further" / "cache", tmp_path / "killed" / "cache")
    backward, calls = tiny_training.PolicyLosses.forward, []

    def dies(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise SystemExit
        return backward(self, *args)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(tiny_training.PolicyLosses, "forward", dies)
        run(tmp_path / "killed", resume=False)
    with pytest.raises(UserMistake, match="--resume: expected --only-expert again, as the run in .* began"):
        run(tmp_path / "killed", True, usual)
    assert moved(run(tmp_path / "killed", resume=True), further) == set()
    assert figures(tmp_path / "killed") == figures(tmp_path / "further")


def test_contexts_of_other_lengths_are_joined_with_the_missing_states_masked():
    def context(length: int) -> FrozenContext:
        return FrozenContext(torch.ones(1, length, 2), torch.ones(1, length, dtype=torch.bool), torch.ones(1, 1, 3), torch.ones(1, 4, 5))

    both = joined([context(3), context(2)])
    assert both.mask.tolist() == [[True, True, True], [True, True, False]]
    assert both.hidden[1].tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
    assert both.at([1]).mask.tolist() == [[True, True, False]]
