"""``lawam bench convert``: what is measured, and what is refused before anything is written."""

import json

import pytest

from lawam_ros.cli.main import main


def test_both_directions_are_measured(capsys, tmp_path):
    assert main(["bench", "convert", "--seconds", "5", "--images", "jpeg", "--action-hz", "10", "--folder", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    there, back = report["timings"]
    assert (there["to"], back["to"]) == ("lerobot-v3", "bag")
    assert all(
        one["wall_s"] > 0 and one["cpu_s"] > 0 and one["share"] == pytest.approx(one["wall_s"] / 5, abs=0.01) for one in (there, back)
    )
    assert back["megabytes"] > 40, "raw images of 640x480, two cameras, ten times a second"
    (mark,) = report["marks"]
    assert mark["value"] == there["share"] and mark["met"] == (there["share"] <= 0.25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seconds", "1"], "expected --seconds from 5 to 600"),
        (["--images", "png"], "--images of jpeg, raw"),
        (["--action-hz", "900"], "expected a number between"),
        (["--folder", "/nowhere"], "--folder: expected a folder"),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, sentence):
    assert main(["bench", "convert", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert sentence in error
