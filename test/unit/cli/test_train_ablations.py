"""``lawam train ablations`` at toy size: every kind of variant, a run that is called again, table and plot."""

import json
from dataclasses import replace

import pytest
from toy_training import one_thread, shrunk_tiny, write_demonstrations

from lawam_ros.cli.main import main
from lawam_ros.training.tiny_recipe import TinyRecipe

TASK = "franka_pick_place"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--seeds 0", "--seeds: expected at least 1"),
        ("--minutes 0", "--minutes: expected a positive number"),
        ("--variants lawam,all", "unknown all; expected some of lawam, no_world_model"),
    ],
)
def test_wrong_calls_are_refused(capsys, tmp_path, arguments, message):
    assert main(["train", "ablations", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *arguments.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def small(monkeypatch):
    one_thread()
    usual = TinyRecipe(batch=2, world_model_batch=2, validation_starts=2)
    short = {"steps": 2, "report_every": 1, "evaluate_every": 2, "warmup_steps": 1}
    recipe = replace(usual, world_model=replace(usual.world_model, **short), policy=replace(usual.policy, **short))
    monkeypatch.setattr("lawam_ros.training.tiny_recipe.with_minutes", lambda given, minutes: replace(recipe, seed=given.seed))
    monkeypatch.setattr("lawam_ros.model.config.load_model_config", lambda name: shrunk_tiny())


def test_trains_tries_and_reports_and_goes_on(small, capsys, tmp_path):
    for split, length in (("train", 9), ("val", 6)):
        write_demonstrations(tmp_path / split, TASK, (length,))
    out = tmp_path / "out"
    call = f"train ablations --data {tmp_path} --out {out} --seeds 1 --episodes 2 --jobs 1 --threads 1 --set task.episode.timeout_s=1.0"
    first = [*call.split(), "--variants", "lawam,no_world_model"]
    assert main(first) == 0
    assert "0 of 2" in capsys.readouterr().out
    results = {path.stem: json.loads(path.read_text()) for path in (out / "results").iterdir()}
    assert set(results) == {"lawam_0", "no_world_model_0"}
    assert [episode["seed"] for episode in results["lawam_0"]["episodes"]] == [10_000, 10_001]
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name.startswith(("lawam_0", "model.safetensors"))}
    assert main([*call.split(), "--variants", "lawam,present_subgoal,others_subgoal"]) == 0
    assert all(path.stat().st_mtime_ns == before for path, before in written.items()), "what was there was made again"
    assert not (out / "present_subgoal_0").exists(), "tries the weights of another variant"
    table = (out / "ablations.md").read_text()
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == ["lawam", "present_subgoal", "others_subgoal"]
    assert (out / "ablations.csv").read_text().startswith("variant,success,low,high\nlawam,0.0000,0.0000,")
    assert (out / "ablations.png").stat().st_size > 5000
