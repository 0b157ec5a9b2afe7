"""``lawam eval``: what is refused, and what a short direct run reports."""

import csv
import itertools
import json

import av
import pytest

from lawam_ros.cli import direct_worker
from lawam_ros.cli.main import main
from lawam_ros.contract.errors import LawamError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--episodes 0", "--episodes: expected at least 1, got 0"),
        ("--seed -1", "--seed: expected at least 0, got -1"),
        ("--delay-ms 9999", "--delay-ms: expected 0 to 2500, got 9999"),
        ("--require 2", "--require: expected a fraction from 0 to 1, got 2"),
        ("--domain 999", "--domain: expected 0 to 232, got 999"),
        ("--jobs 2", "--jobs: the ROS graph runs one episode at a time"),
        ("--through direct --clock steady", "--through direct runs in stepped time"),
        ("--perturb gravity", "gravity"),
        ("--checkpoint nowhere/at/all", "no checkpoint 'nowhere/at/all'"),
        ("--task dance", "dance"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(arguments, message, capsys):
    assert main(["eval", *arguments.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_direct_run_reports_films_and_draws_its_failures(capsys, tmp_path):
    arguments = (
        "eval --through direct --episodes 2 --seed 10001 --set task.episode.timeout_s=1.5 --perturb light --require 0.5 --json --out"
    )
    assert main([*arguments.split(), str(tmp_path)]) == 1, "nobody succeeds in 1.5 s"
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["episodes"], report["successes"], report["through"], report["clock"]) == (2, 0, "direct", "stepped")
    assert [row["reason"] for row in report["episodes_detail"]] == ["timeout", "timeout"]
    assert report["limit_violations"] == 0 and report["chunk_ms_p50"] > 0 and report["perturb"] == "light"
    assert report["observation_to_command_ms_p50"] == 100.0
    assert len(report["video"]) == 2 and all((tmp_path / name.split("/")[-1]).stat().st_size > 1000 for name in report["video"])
    assert (tmp_path / "failures.png").stat().st_size > 1000
    with (tmp_path / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["success"], row["reason"], row["time_s"]) for row in rows] == [
        (str(row["seed"]), "False", "timeout", str(row["time_s"])) for row in report["episodes_detail"]
    ]


def test_episodes_before_an_error_are_kept(capsys, tmp_path, monkeypatch):
    def breaks_off(job, seeds, jobs):
        yield from itertools.islice(outcomes(job, seeds, jobs), 1)
        raise LawamError("the arm is gone")

    outcomes = direct_worker.outcomes
    monkeypatch.setattr(direct_worker, "outcomes", breaks_off)
    arguments = "eval --through direct --episodes 2 --checkpoint hold --no-video --set task.episode.timeout_s=1 --out"
    assert main([*arguments.split(), str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f"broke off after 1 of 2 episodes; see {tmp_path / 'episodes.csv'}" in said and "the arm is gone" in said
    assert len((tmp_path / "episodes.csv").read_text().splitlines()) == 2


def test_a_camera_on_its_side_is_turned_in_a_direct_run_as_in_the_graph(capsys, tmp_path):
    on_its_side = ["robot.cameras.front.rotate_deg=90", "robot.cameras.front.width=240", "robot.cameras.front.height=320"]
    arguments = ["eval", "--through", "direct", "--episodes", "1", "--checkpoint", "hold", "--set", "task.episode.timeout_s=1"]
    arguments += [word for override in on_its_side for word in ("--set", override)]
    assert main([*arguments, "--json", "--out", str(tmp_path)]) == 0
    (film,) = json.loads(capsys.readouterr().out.splitlines()[-1])["video"]
    with av.open(film) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == (320, 240, 3)
    warmth = picture[..., 0].astype(float) - picture[..., 2]
    assert warmth[:, :60].mean() > warmth[:, -60:].mean() + 20, "expected the wooden table left, robot and wall, which are grey, right"
