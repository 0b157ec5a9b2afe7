"""``lawam bench timing`` at toy size, with a policy that takes no time and moves nothing: what is kept, gone on with and judged."""

import json

import pytest

from lawam_ros.cli.bench_timing import marks_of
from lawam_ros.cli.main import main
from lawam_ros.cli.paired_success import paired_difference
from lawam_ros.cli.timing_cells import Cell, CellFolder, TimedEpisode
from lawam_ros.contract.errors import UserMistake

EPISODE = TimedEpisode(10000, True, "success", 7.5, 20.0, 90.0, None, 0.1, 0, {"guided": 4})


def test_a_run_that_was_killed_goes_on_where_it_was(capsys, tmp_path):
    arguments = ["bench", "timing", "--checkpoint", "hold", "--strategies", "rtc,ensemble", "--delays", "150", "--paired", "0"]
    arguments += ["--set", "task.episode.timeout_s=1.0", "--out", str(tmp_path), "--json"]
    assert main([*arguments, "--episodes", "1"]) == 0
    files = sorted(tmp_path.glob("*.jsonl"))
    assert [file.stem for file in files] == ["ensemble_150ms", "rtc_150ms"]
    first = {file.name: file.read_text() for file in files}
    files[0].write_text(first[files[0].name][:-20])  # killed in the middle of a line
    capsys.readouterr()
    assert main([*arguments, "--episodes", "2"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["strategy"], row["delay_ms"], row["episodes"]) for row in report["cells"]] == [("rtc", 150, 2), ("ensemble", 150, 2)]
    for file in files[1:]:
        assert file.read_text().startswith(first[file.name]), "what was there is not played again"
        assert len(file.read_text().splitlines()) == 3
    again, once = ([json.loads(line) for line in text.splitlines()[-2:]] for text in (files[0].read_text(), first[files[0].name]))
    assert once[1] == again[0], "and what was lost comes out the same"
    row = report["cells"][0]
    assert row["reaction_ms"] is None or row["reaction_ms"] > 250.0
    assert row["successes"] == row["violations"] == 0 and row["jerk_rms_m_s3"] == 0.0 and 0.0 < row["held_share"] <= 1.0
    assert (tmp_path / "timing.png").stat().st_size > 10_000
    assert (tmp_path / "table.md").read_text().count("\n| rtc |") == 1


def test_episodes_of_other_settings_are_not_mixed_in(tmp_path):
    folder = CellFolder(tmp_path, {"latency_ms": 100})
    folder.add(Cell("rtc", 0), EPISODE)
    assert folder.episodes(Cell("rtc", 0)) == {10000: EPISODE}
    assert folder.episodes(Cell("rtc", 50)) == {}
    with pytest.raises(UserMistake, match="made with other settings"):
        CellFolder(tmp_path, {"latency_ms": 50}).episodes(Cell("rtc", 0))


def test_the_marks_are_those_of_the_paired_comparison():
    rows = [{"violations": 0}, {"violations": 2}]
    assert [mark["met"] for mark in marks_of(rows, None)] == [False]
    good = paired_difference([(True, True)] * 180 + [(True, False)] * 8 + [(False, True)] * 6 + [(False, False)] * 6)
    bad = paired_difference([(True, True)] * 160 + [(True, False)] * 26 + [(False, True)] * 4 + [(False, False)] * 10)
    assert [mark["met"] for mark in marks_of(rows[:1], good)] == [True, True, True]
    assert [mark["met"] for mark in marks_of(rows[:1], bad)] == [True, False, False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--strategies magic", "--strategies: expected names out of rtc"),
        ("--delays 0,soon", "--delays: expected whole milliseconds"),
        ("--episodes 0", "--episodes: expected at least 1"),
        ("--latency-ms 5000", "--latency-ms: expected 0 to 2000"),
    ],
)
def test_mistakes_are_named(capsys, tmp_path, arguments, said):
    assert main(["bench", "timing", "--out", str(tmp_path), *arguments.split()]) == 2
    assert said in capsys.readouterr().err
