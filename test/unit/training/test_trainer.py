"""The loop: a killed run goes on with the losses of one that was not killed, and the plan keeps to its time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lawam_ros.contract.errors import EnvironmentLacks, LawamError, UserMistake
from lawam_ros.training.metrics import MetricsFile, chunk_errors, plot_metrics, read_metrics
from lawam_ros.training.parameter_groups import matrices_decay
from lawam_ros.training.run_state import RunState, load_state, save_state, without_prefix
from lawam_ros.training.schedule import step_generators
from lawam_ros.training.tiny_recipe import TinyRecipe, further_training, with_minutes
from lawam_ros.training.trainer import Execution, Hooks, Progress, StageSettings, progress_from, train_stage

SETTINGS = StageSettings(
    name="policy",
    steps=12,
    seconds=None,
    peak_rate=1e-2,
    floor_ratio=0.1,
    warmup_steps=2,
    weight_decay=0.01,
    gradient_clip=1.0,
    decay=0.9,
    report_every=1,
    evaluate_every=4,
)


class Killed(Exception):
    pass


class SumLosses(nn.Module):
    """Learns the sum of its inputs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        return {"total": (self.net(x)[:, 0] - x.sum(dim=1)).square().mean()}


class Toy:
    """A small net with dropout whose batches come from the generator of the step, and its run folder."""

    def __init__(self, folder, kill_at: int | None = None, error: type[BaseException] = Killed) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 1))
        self.parameters = dict(self.net.named_parameters())
        self.module = SumLosses(self.net)
        self.folder, self.kill_at, self.error = folder, kill_at, error
        self.metrics = MetricsFile(folder / "metrics.csv")

    def batch(self, step: int, part: int) -> tuple[torch.Tensor]:
        if step == self.kill_at:
            raise self.error("no batch")
        _, noise = step_generators(1, f"policy{part}", step)
        return (torch.randn(32, 4, generator=noise),)

    def evaluate(self) -> dict[str, float]:
        return {"error/weight": float(self.net[0].weight.detach().sum())}

    def save(self, progress: Progress, tensors: dict[str, torch.Tensor]) -> None:
        save_state(self.folder / "state.safetensors", RunState(tensors, {"progress": progress.as_mapping()}))

    def train(self, resume: bool = False, settings: StageSettings = SETTINGS, save_seconds: float = 0.0, workers: int = 0) -> None:
        stored, progress = None, None
        if resume:
            state = load_state(self.folder / "state.safetensors")
            stored, progress = state.tensors, progress_from(state.facts["progress"])
            self.net.load_state_dict(without_prefix("model", stored))
        self.metrics.start(("policy",), "policy", progress.step if progress else 0)
        hooks = Hooks(self.module, self.batch, self.evaluate, self.save, save_seconds)
        groups = matrices_decay(self.parameters, settings.peak_rate, settings.weight_decay)
        train_stage(settings, groups, hooks, self.metrics, 1, stored, progress, Execution(workers=workers))


def rows(folder) -> list[tuple[str, int, str, float]]:
    return [(stage, step, name, value) for stage, step, _, name, value in read_metrics(folder / "metrics.csv") if name != "waiting"]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = Toy(tmp_path / "whole")
    whole.train()
    with pytest.raises(Killed):
        Toy(tmp_path / "killed", kill_at=7).train()
    resumed = Toy(tmp_path / "killed")
    with torch.no_grad():
        resumed.net[0].weight.fill_(9.0)  # a fresh process starts from other weights than the state's
    resumed.train(resume=True)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    for ours, expected in zip(resumed.net.parameters(), whole.net.parameters(), strict=True):
        assert torch.equal(ours, expected)


def test_reports_span_a_kill_between_them(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    settings = replace(SETTINGS, report_every=4)
    Toy(tmp_path / "whole").train(settings=settings)
    with pytest.raises(Killed):
        Toy(tmp_path / "killed", kill_at=6).train(settings=settings)
    Toy(tmp_path / "killed").train(resume=True, settings=settings)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


@pytest.mark.parametrize(
    ("error", "told"), [(UserMistake, "no batch"), (torch.OutOfMemoryError, "memory of the device does not suffice at step 7; lower")]
)
def test_what_fails_between_states_loses_nothing(tmp_path, error, told):
    """States are hours apart here, yet the one before the failing step is on disk when the run ends."""
    for name in ("whole", "failed"):
        (tmp_path / name).mkdir()
    Toy(tmp_path / "whole").train()
    with pytest.raises(LawamError, match=told):
        Toy(tmp_path / "failed", kill_at=7, error=error).train(save_seconds=1e9)
    assert load_state(tmp_path / "failed" / "state.safetensors").facts["progress"]["step"] == 7
    Toy(tmp_path / "failed").train(resume=True)
    assert rows(tmp_path / "failed") == rows(tmp_path / "whole")


@pytest.mark.parametrize(
    ("error", "told"),
    [(torch.OutOfMemoryError("CUDA"), "memory of the device"), (OSError(28, "No space left on device"), "could not be written at step 8")],
)
def test_a_failed_evaluation_loses_nothing(tmp_path, error, told):
    toy, evaluations = Toy(tmp_path), []

    def evaluate() -> dict[str, float]:
        evaluations.append(1)
        if len(evaluations) == 2:
            raise error
        return {"error/weight": 1.0}

    toy.evaluate = evaluate
    with pytest.raises(LawamError, match=told):
        toy.train(save_seconds=1e9)
    assert load_state(tmp_path / "state.safetensors").facts["progress"]["step"] == 8
    Toy(tmp_path).train(resume=True)
    (tmp_path / "whole").mkdir()
    Toy(tmp_path / "whole").train()
    trained = [[row for row in rows(folder) if row[2] != "error/weight"] for folder in (tmp_path, tmp_path / "whole")]
    assert trained[0] == trained[1]


def test_a_report_that_could_not_be_written_is_made_up_for(tmp_path):
    """The disk is full at the second report; the resumed run writes it first."""
    settings, toy = replace(SETTINGS, report_every=4), Toy(tmp_path)
    append = toy.metrics.append

    def full(stage, step, seconds, values):
        if step == 8:
            raise OSError(28, "No space left on device")
        append(stage, step, seconds, values)

    toy.metrics.append = full
    with pytest.raises(LawamError, match="could not be written at step 8"):
        toy.train(settings=settings)
    Toy(tmp_path).train(resume=True, settings=settings)
    (tmp_path / "whole").mkdir()
    Toy(tmp_path / "whole").train(settings=settings)
    reported = [[row for row in rows(folder) if row[2] != "error/weight"] for folder in (tmp_path, tmp_path / "whole")]
    assert reported[0] == reported[1]


def test_batches_made_ahead_change_nothing(tmp_path):
    for name in ("inline", "ahead"):
        (tmp_path / name).mkdir()
    Toy(tmp_path / "inline").train()
    Toy(tmp_path / "ahead").train(workers=3)
    assert rows(tmp_path / "ahead") == rows(tmp_path / "inline")


def test_accumulated_batches_give_the_mean_gradient(tmp_path):
    """Without dropout two batches of a step are one of twice the size."""
    toy = Toy(tmp_path)
    toy.net[2].p = 0.0
    toy.train(settings=replace(SETTINGS, steps=1, accumulate=2, gradient_clip=1e9))
    other = Toy(tmp_path)
    other.net[2].p = 0.0
    x = torch.cat([other.batch(0, part)[0] for part in (0, 1)])
    expected = torch.autograd.grad(other.module(x, 0)["total"], list(other.parameters.values()))
    recorded = {name: value for _, _, name, value in rows(tmp_path)}
    assert recorded["gradient"] == pytest.approx(float(torch.stack([g.norm() for g in expected]).norm()), rel=1e-4)


def test_a_full_disk_is_told_and_keeps_the_old_state(tmp_path, monkeypatch):
    file = tmp_path / "state.safetensors"
    save_state(file, RunState({"model.a": torch.ones(2)}, {"step": 1}))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lawam_ros.training.run_state.save_file", full)
    with pytest.raises(EnvironmentLacks, match="No space left on device.*make room"):
        save_state(file, RunState({"model.a": torch.zeros(2)}, {"step": 2}))
    assert load_state(file).facts == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_training_learns_and_ends_with_averaged_weights(tmp_path):
    toy = Toy(tmp_path)
    toy.train(settings=replace(SETTINGS, steps=150))
    losses = [value for _, _, name, value in rows(tmp_path) if name == "total"]
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    last_evaluation = [value for _, step, name, value in rows(tmp_path) if name == "error/weight"][-1]
    assert toy.evaluate()["error/weight"] == pytest.approx(last_evaluation, rel=1e-4)


def test_the_plan_is_cut_to_the_time_given(tmp_path):
    toy = Toy(tmp_path)
    toy.train(settings=replace(SETTINGS, steps=100_000, seconds=0.3))
    steps = max(step for _, step, _, _ in rows(tmp_path))
    assert 1 <= steps < 100_000
    seconds = max(seconds for _, _, seconds, _, _ in read_metrics(tmp_path / "metrics.csv"))
    assert seconds < 1.0


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    toy = Toy(tmp_path)
    toy.batch = lambda step, part: (torch.full((1, 4), float("nan")),)
    with pytest.raises(LawamError, match="expected finite losses at step 0"):
        toy.train()


def test_a_state_is_replaced_whole(tmp_path):
    file = tmp_path / "state.safetensors"
    save_state(file, RunState({"model.a": torch.ones(2)}, {"step": 1}))
    save_state(file, RunState({"model.a": torch.zeros(3)}, {"step": 2}))
    state = load_state(file)
    assert state.facts == {"step": 2} and state.tensors["model.a"].tolist() == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    file.write_bytes(b"no state at all")
    with pytest.raises(UserMistake, match="expected a training state"):
        load_state(file)


def test_minutes_are_shared_between_the_stages():
    recipe = with_minutes(TinyRecipe(), 10.0)
    assert recipe.world_model.seconds + recipe.policy.seconds == pytest.approx(600.0)
    assert with_minutes(TinyRecipe(), None) == TinyRecipe()


def test_further_training_gives_all_the_time_to_the_policy_at_a_gentler_rate():
    recipe, usual = with_minutes(further_training(), 10.0), TinyRecipe().policy
    assert (recipe.world_model.seconds, recipe.policy.seconds) == (0.0, 600.0)
    assert 0.0 < recipe.policy.peak_rate < 0.5 * usual.peak_rate
    assert replace(recipe.policy, peak_rate=usual.peak_rate, seconds=None) == usual


def test_metrics_are_plotted(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.start(("policy",), "policy", 0)
    for step in range(1, 5):
        metrics.append("policy", step, step * 0.5, {"total": 1.0 / step, "error/position_cm_at_24": 3.0 / step})
    plot_metrics(tmp_path / "metrics.csv", tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")


def test_chunk_errors_are_in_centimetres_degrees_and_millimetres():
    expected = torch.zeros(2, 24, 7).numpy()
    predicted = expected.copy()
    predicted[:, 23, 0], predicted[:, 23, 5], predicted[..., 6] = 0.03, 0.1, 0.002
    errors = chunk_errors(predicted, expected, (12, 24))
    assert errors == pytest.approx(
        {"error/position_cm_at_12": 0.0, "error/position_cm_at_24": 3.0, "error/rotation_deg_at_24": 5.7296, "error/gripper_mm": 2.0},
        rel=1e-3,
    )
    beside_a_perfect_arm = [np.concatenate([values, expected], axis=-1) for values in (predicted, expected)]
    halved = chunk_errors(*beside_a_perfect_arm, (12, 24))
    assert halved == pytest.approx({name: 0.5 * error for name, error in errors.items()})
