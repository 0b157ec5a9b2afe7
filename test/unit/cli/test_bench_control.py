"""``lawam bench executor``, ``fuzz`` and ``seam`` as a user calls them, as short as they go."""

import json
import shutil

import numpy as np
import pytest

from lawam_ros.cli.main import main


def called(capsys, text):
    code = main(text.split())
    lines = capsys.readouterr().out.splitlines()
    return code, lines, json.loads(lines[-1])


def test_executor_measures_cost_and_punctuality(capsys):
    code, lines, report = called(capsys, "bench executor --dof 7,14 --rate 500 --ticks 100 --seconds 0.1 --busy 1 --json")
    assert code == 0 and len(lines) > 8
    own = [row for row in report["cost"] if row["follower"] == "own"]
    assert [(row["dof"], row["rate_hz"], row["state"]) for row in own] == [(7, 500.0, "RUN"), (14, 500.0, "RUN")]
    assert report["projection_us"]["own"] > 0.0
    for row in report["cost"]:
        assert 20.0 < row["cpu_us"]["p50"] <= row["cpu_us"]["p99"] <= row["cpu_us"]["max"]
    assert [(row["dof"], row["busy_processes"]) for row in report["lateness"]] == [(7, 0), (14, 0), (7, 1), (14, 1)]
    compiler = any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    for row in report["lateness"]:
        assert row["tick_thread"]["periods"] >= 50 and row["tick_thread"]["late_us_p50"] > 0.0
        assert (row["c_loop"] is not None) == compiler
    assert {mark["limit"] for mark in report["marks"]} <= {200.0, 500.0, 0.1}


def test_fuzz_is_the_same_for_any_number_of_processes(capsys):
    reports = [called(capsys, f"bench fuzz --ticks 300 --robots franka_fr3 --jobs {jobs} --json") for jobs in (1, 2)]
    for code, _, report in reports:
        assert code == 0 and report["violations"] == report["non_finite_outputs"] == 0 and report["ticks"] == 300
        assert report["commands_judged"] > 200 and report["worst_share_of_limit"]["velocity"] <= 1.0
    assert reports[0][2]["events"] == reports[1][2]["events"]


def test_seams_of_the_executor_are_smooth_and_those_of_the_others_are_not(capsys):
    code, lines, report = called(capsys, "bench seam --delays 0,150,300 --seconds 4 --require --json")
    assert code == 0 and lines[-2] == "15 of 15 marks met"
    for result in report["results"]:
        own, others = result["ways"]["executor"], {name: way for name, way in result["ways"].items() if name != "executor"}
        assert own["seams"] >= 8 and max(value for name, value in own.items() if name.startswith("worst_jump")) < 1e-9
        assert set(others) == {"naive", "linear", "act_ensemble", "official_robotwin", "official_towel"}
        assert all(way["worst_jump_position_m"] > 1e-3 for way in others.values())


def test_recorded_chunks_are_read_and_those_that_are_refused_are_counted(capsys, tmp_path):
    row = [0.5, 0.0, 0.33, 1.0, 0.0, 0.0, 0.0, 0.08]
    values = np.tile(row, (5, 24, 1))
    values[3, :, 1] += 0.4
    np.savez(tmp_path / "chunks.npz", stamps_s=0.4 * np.arange(5), times_s=(np.arange(24) + 1) / 20, values=values)
    code, _, report = called(capsys, f"bench seam --chunks {tmp_path / 'chunks.npz'} --delays 50 --json")
    own = report["results"][0]["ways"]["executor"]
    assert code == 0 and (report["chunks"], own["refused"], own["seams"]) == (5, 1, 4)
    (tmp_path / "other.npz").write_bytes(b"no chunks")
    assert main(["bench", "seam", "--chunks", str(tmp_path / "other.npz")]) == 2
    assert "stamps_s (K,)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("executor --dof 6", "--dof: expected 7 or 14"),
        ("executor --rate 5000", "--rate: expected numbers from 20 to 1000"),
        ("fuzz --robots r2d2", "--robots: expected names out of franka_fr3, franka_panda"),
        ("fuzz --ticks 0", "--ticks from 1 to 1e10"),
        ("seam --delays soon", "--delays: expected milliseconds"),
        ("seam --robot two_pandas", "one arm"),
    ],
)
def test_mistakes_are_named(capsys, arguments, said):
    assert main(["bench", *arguments.split()]) == 2
    assert said in capsys.readouterr().err
