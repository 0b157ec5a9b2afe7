"""``lawam train stage1`` and ``stage2`` on toy data: mixtures, resuming, fine-tuning, and mistakes told in one sentence."""

import json
import math

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from toy_training import FRONT, one_thread, write_dataset, write_model, write_recipe

from lawam_ros.cli.main import main
from lawam_ros.model.checkpoint import load_checkpoint
from lawam_ros.model.engine import Engine
from lawam_ros.training.metrics import read_metrics

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """Two datasets of different rates and robots, a video without actions, a model and a recipe."""
    one_thread()
    root = tmp_path_factory.mktemp("toys")
    write_dataset(root / "ten_hz", fps=10)
    write_dataset(root / "twenty_hz", fps=20, lengths=(9, 10), state=2, action=6, cameras=(FRONT,), robot="agilex")
    write_dataset(root / "human", fps=10, lengths=(6, 5), state=0, action=0, cameras=(FRONT,), robot="human")
    write_model(root / "model.yaml")
    write_recipe(root / "recipe.yaml")
    return root


def train(stage, toys, out, *more, data="ten_hz,twenty_hz", model="model.yaml"):
    folders = ",".join(str(toys / name) for name in data.split(","))
    chosen = [] if model is None else ["--model", str(toys / model)]
    fixed = ["--data", folders, "--out", str(out), "--recipe", str(toys / "recipe.yaml"), "--workers", "0"]
    return main(["train", stage, *chosen, *fixed, *more])


def losses(out):
    skipped = ("waiting",)
    return [(step, name, value) for _, step, _, name, value in read_metrics(out / "metrics.csv") if name not in skipped]


@pytest.fixture(scope="module")
def world_model(toys):
    """A finished stage-1 run over robots and humans."""
    out = toys / "world_model"
    assert train("stage1", toys, out, "--steps", "3", data="ten_hz,twenty_hz,human") == 0
    return out / "checkpoint"


@pytest.fixture(scope="module")
def policy(toys, world_model):
    """A finished stage-2 run on top of it, over two robots."""
    out = toys / "policy"
    assert (
        train("stage2", toys, out, "--init", str(world_model), "--steps", "6", "--set", "trained_delay_steps=2", "--set", "noise_scale=0.5")
        == 0
    )
    return out


def test_a_stage1_run_writes_what_stage2_takes(world_model):
    run = world_model.parent
    assert (run / "losses.png").is_file() and (run / "subgoals" / "stage1_0001.png").is_file()
    names = set(load_file(world_model / "checkpoints" / "model.safetensors"))
    assert {"lam.encoder.out_proj.weight", "lam.decoder.last_ln.weight", "lam.vq.mu.weight"} <= names
    terms = {name for _, name, _ in losses(run)}
    assert {"total", "reconstruction", "divergence", "state", "rate", "validation/total", "subgoal/error_over_no_motion"} <= terms


def test_a_stage2_run_leaves_a_checkpoint_that_infers(policy):
    checkpoint = load_checkpoint(policy / "checkpoint")
    facts = checkpoint.facts
    assert facts is not None and (facts.embodiment_tag, facts.embodiment_id, facts.action_hz) == ("franka", 25, 10.0)
    assert (facts.trained_delay_steps, facts.noise_scale) == (2, 0.5) and len(facts.data_sha256) == 64 and facts.training["episodes"] == 4
    assert set(checkpoint.statistics) == {"franka", "agilex"}
    assert checkpoint.statistics["agilex"].action.size == 6 and checkpoint.statistics["franka"].action.size == 4
    black = torch.zeros(48, 64, 3, dtype=torch.uint8).numpy()
    output = Engine(checkpoint).infer([black], [black], "move the square", [0.0, 0.1, 0.2], 25, 10.0, seed=0)
    assert output.actions.shape == (4, 4) and all(map(math.isfinite, output.actions.ravel()))
    assert (policy / "subgoals" / "stage2_0002.png").is_file() and any((policy / "events").iterdir())
    assert {"flow", "perceptual", "distill", "validation/action_mse"} <= {name for _, name, _ in losses(policy)}


def test_a_killed_run_goes_on_with_the_same_losses(toys, world_model, policy, tmp_path, monkeypatch):
    """Killed in the middle of the fifth step; dropout, a mixture and delays are all at work."""
    from lawam_ros.training import trainer

    backward, calls = trainer._Loop._backward, []

    def dies(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise SystemExit
        return backward(self, *args, **kwargs)

    arguments = ("--init", str(world_model), "--steps", "6", "--set", "trained_delay_steps=2")
    monkeypatch.setattr(trainer._Loop, "_backward", dies)
    with pytest.raises(SystemExit):
        train("stage2", toys, tmp_path / "killed", *arguments)
    monkeypatch.undo()
    assert max(step for step, _, _ in losses(tmp_path / "killed")) == 4
    assert train("stage2", toys, tmp_path / "killed", *arguments) == 0
    assert losses(tmp_path / "killed") == losses(policy)
    ours, expected = (load_file(run / "checkpoint" / "final_model" / "model.safetensors") for run in (tmp_path / "killed", policy))
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_fine_tuning_keeps_what_was_learned_and_gives_a_new_robot_fresh_layers(toys, policy, tmp_path, capsys):
    """One step at rate zero: what is not fresh equals the checkpoint, statistics are those of the new data."""
    recipe = yaml.safe_load((toys / "recipe.yaml").read_text())
    recipe["stage2"] |= {"learning_rate": {"base": 0.0}, "num_warmup_steps": 0}
    (toys / "still.yaml").write_text(yaml.safe_dump(recipe))
    arguments = ("--init", str(policy / "checkpoint"), "--steps", "1", "--embodiment", "my_arm:7", "--recipe", str(toys / "still.yaml"))
    assert train("stage2", toys, tmp_path / "run", *arguments, data="ten_hz", model=None) == 0
    assert "tensors loaded, 0 start fresh" in capsys.readouterr().out
    before, after = (load_checkpoint(run / "checkpoint").model.state_dict() for run in (policy, tmp_path / "run"))
    assert all(torch.allclose(after[name], before[name], atol=1e-6) for name in before)
    tuned = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert (tuned.facts.embodiment_tag, tuned.facts.embodiment_id) == ("my_arm", 7) and set(tuned.statistics) == {"my_arm"}


def test_a_checkpoint_for_inference_can_be_fine_tuned(toys, policy, tmp_path, capsys):
    """It holds one robot's layers and no teacher: the robot keeps its layers, another one starts fresh, distillation is off."""
    from lawam_ros.model.checkpoint import save_checkpoint
    from lawam_ros.model.prompt import PromptEncoder

    whole = load_checkpoint(policy / "checkpoint")
    statistics = json.loads((policy / "checkpoint" / "dataset_statistics.json").read_text())
    tokenizer = PromptEncoder(whole.config).tokenizer
    small = save_checkpoint(tmp_path / "small", whole.model, statistics, whole.facts, tokenizer, inference_only=True)
    arguments = ("--init", str(small), "--steps", "1", "--seed", "5")
    assert train("stage2", toys, tmp_path / "run", *arguments, data="ten_hz", model=None) == 0
    out = capsys.readouterr().out
    assert "hold no stage-1 encoder" in out and "start fresh (lam.encoder" in out
    assert [value for _, name, value in losses(tmp_path / "run") if name == "distill"] == [0.0]
    tuned = load_checkpoint(tmp_path / "run" / "checkpoint").model.flow.action_encoder.W1.W
    original = whole.model.flow.action_encoder.W1.W
    assert torch.allclose(tuned[25], original[25], atol=5e-3) and not torch.allclose(tuned[7], original[7], atol=5e-3)
    assert bool(torch.isfinite(tuned).all())


def test_base_models_of_their_authors_are_taken(toys, tmp_path, capsys):
    """Weights spelt as the language model's, the encoder's and the official stage 1 are published."""
    from lawam_ros.model.config import load_model_config
    from lawam_ros.model.lawam import build_model
    from lawam_ros.training.initial_weights import load_initial, read_initial

    torch.manual_seed(5)
    config = load_model_config(toys / "model.yaml")
    source, target = build_model(config), build_model(config)
    parts = {"qwen": ("vlm.", ""), "dino": ("lam.vision_encoder.model.", ""), "lam": ("lam.", "lam.")}
    for folder, (prefix, spelt) in parts.items():
        (tmp_path / folder).mkdir()
        tensors = {spelt + name.removeprefix(prefix): t for name, t in source.state_dict().items() if name.startswith(prefix)}
        if folder == "lam":
            torch.save({"state_dict": tensors}, tmp_path / folder / "weights.pt")
        else:
            save_file(tensors, tmp_path / folder / "model.safetensors")
    paths = [tmp_path / "qwen", tmp_path / "dino", tmp_path / "lam" / "weights.pt"]
    report = load_initial(target, read_initial(paths))
    assert report.has_teacher and report.misfits == ()
    expected = {name for name in source.state_dict() if name.startswith(("vlm.", "lam.")) and not name.startswith("vlm_to")}
    assert all(torch.equal(target.state_dict()[name], source.state_dict()[name]) for name in expected)
    assert {name.split(".")[1] for name in report.fresh} == {"act_query", "flow_action_query", "vlm_to_lam", "flow"}


@pytest.mark.parametrize(
    ("stage", "more", "told"),
    [
        ("stage2", {"data": "human"}, "expected actions for stage 2"),
        ("stage2", {"more": ("--set", "learning=3")}, "unknown key 'learning'"),
        ("stage2", {"more": ("--set", "flow_cfg.dropout=much")}, "--set flow_cfg.dropout: expected a number"),
        ("stage2", {"more": ("--set", "trained_delay_steps=70")}, "trained_delay_steps: expected an integer between 0 and 9"),
        ("stage2", {"more": ("--embodiment", "arm")}, "expected TAG:ID"),
        ("stage2", {"more": ("--embodiment", "arm:99")}, "embodiment id of 0 to 31"),
        ("stage2", {"more": ("--steps", "0")}, "--steps of at least 1"),
        ("stage2", {"more": ("--val", "nowhere")}, "--val: expected LeRobot folders"),
        ("stage2", {"more": ("--init", "nowhere")}, "found nothing at nowhere"),
        ("stage1", {"more": ("--recipe", "nothing")}, "unknown training recipe 'nothing'"),
    ],
)
def test_mistakes_are_one_sentence(toys, tmp_path, capsys, stage, more, told):
    assert train(stage, toys, tmp_path / "run", *more.get("more", ()), data=more.get("data", "ten_hz")) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("lawam: ") and told in error


def test_data_that_does_not_fit_the_model_is_refused(toys, tmp_path, capsys):
    write_dataset(tmp_path / "wide", action=9)
    write_dataset(tmp_path / "fast", fps=50)
    for folder, told in (("wide", "actions of at most 6 dimensions, the model's, got 9"), ("fast", "0.4 s at 50 Hz give 20 steps")):
        assert train("stage2", toys, tmp_path / "run", data=str(tmp_path / folder)) == 2
        assert told in capsys.readouterr().err


def test_a_corrupt_episode_is_named(toys, tmp_path, capsys):
    write_dataset(tmp_path / "broken")
    video = next((tmp_path / "broken" / "videos" / FRONT).rglob("*.mp4"))
    video.write_bytes(b"no video")
    assert train("stage2", toys, tmp_path / "run", data=str(tmp_path / "broken")) == 2
    assert "expected a video in" in capsys.readouterr().err
    table = next((tmp_path / "broken" / "data").rglob("*.parquet"))
    table.write_bytes(table.read_bytes()[:300])
    assert train("stage2", toys, tmp_path / "run", data=str(tmp_path / "broken")) == 2
    assert "not a readable parquet file" in capsys.readouterr().err


def test_a_cache_that_does_not_fit_the_disk_is_refused(toys, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lawam_ros.training.recordings.free_bytes", lambda folder: 1000)
    assert train("stage1", toys, tmp_path / "run", "--steps", "1", "--cache", "on", data="ten_hz") == 3
    assert "the disk has 0.0 GB left; make room or train with --cache off" in capsys.readouterr().err


def test_a_run_with_other_settings_is_not_continued(toys, policy, world_model, capsys):
    assert train("stage2", toys, policy, "--init", str(world_model), "--steps", "6", "--seed", "3") == 2
    assert "seed was 2026, is 3" in capsys.readouterr().err


def test_a_run_that_died_before_its_first_state_starts_again(toys, tmp_path, capsys):
    """Its folder holds a plan and no state; a folder of somebody else is left alone."""
    out = tmp_path / "run"
    assert train("stage1", toys, out, "--steps", "1", data="ten_hz") == 0
    (out / "state.safetensors").unlink()
    assert train("stage1", toys, out, "--steps", "1", data="ten_hz") == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    assert train("stage1", toys, tmp_path / "other", "--steps", "1", data="ten_hz") == 2
    assert "holds other things" in capsys.readouterr().err


def test_augmented_pictures_are_decoded_in_the_step(toys, tmp_path, capsys):
    """Two augmented views in stage 1, crop and colours in stage 2; there is no cache, and inference will crop the centre."""
    write_recipe(
        tmp_path / "augmented.yaml",
        stage1={"image_aug": True, "dual_view_aug": True, "frame_dt_sec": 0.3},
        stage2={"enable_primary_random_resized_crop": True, "enable_primary_video_aug": True},
    )
    recipe = ("--recipe", str(tmp_path / "augmented.yaml"), "--steps", "2", "--workers", "2")
    assert train("stage1", toys, tmp_path / "first", *recipe, data="ten_hz,human") == 0
    assert train("stage2", toys, tmp_path / "second", "--init", str(tmp_path / "first" / "checkpoint"), *recipe) == 0
    assert not (tmp_path / "first" / "cache").exists() and not (tmp_path / "second" / "cache").exists()
    assert load_checkpoint(tmp_path / "second" / "checkpoint").config.centre_crop_90
    assert train("stage2", toys, tmp_path / "third", *recipe, "--cache", "on") == 2
    assert "cannot be cached" in capsys.readouterr().err


def test_cached_and_decoded_pictures_train_alike(toys, tmp_path):
    """Features in the cache are exact, so the losses are those of features computed in the step."""
    for cache in ("on", "off"):
        assert train("stage2", toys, tmp_path / cache, "--steps", "2", "--cache", cache, data="ten_hz") == 0
    cached, decoded = (losses(tmp_path / name) for name in ("on", "off"))
    assert [row[:2] for row in cached] == [row[:2] for row in decoded]
    assert [row[2] for row in cached] == pytest.approx([row[2] for row in decoded], rel=1e-4)


def test_throughput_is_measured(toys, capsys):
    import argparse

    from lawam_ros.cli import bench_train

    parser = argparse.ArgumentParser()
    bench_train.add_parser(parser.add_subparsers())
    shared = ["--data", str(toys / "ten_hz"), "--model", str(toys / "model.yaml"), "--recipe", str(toys / "recipe.yaml")]
    args = parser.parse_args(["train", *shared, "--steps", "2", "--warmup", "1", "--json"])
    assert args.run(args) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["samples_per_s"] == pytest.approx(2 * report["batch_size"] / report["seconds"])
    assert 0.0 <= report["waiting_share"] < 1.0 and report["peak_memory_gb"] is None
