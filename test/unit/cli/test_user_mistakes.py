"""A mistake in the call of ``lawam`` is one sentence on stderr and exit code 2, before anything is started."""

import subprocess
import sys
from pathlib import Path

import pytest

from lawam_ros.cli import demo
from lawam_ros.cli.main import main
from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_ENVIRONMENT_LACKS, EXIT_USER_MISTAKE, EnvironmentLacks, LawamError


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run_task", lambda *_: pytest.fail("the run was started"))
    monkeypatch.setattr("lawam_ros.sim.renderer.choose_renderer", lambda: "egl")  # not what is asked here, and slow


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--task", "make_coffee"], "unknown task 'make_coffee': expected one of"),
        (["--robot", "franka_fr9"], "unknown robot 'franka_fr9': expected one of"),
        (["--episodes", "-1"], "--episodes: expected at least 1, got -1"),
        (["--episodes", "0"], "--episodes: expected at least 1, got 0"),
        (["--seed", "-5"], "--seed: expected a whole number from 0, got -5"),
        (["--delay-ms", "-1"], "--delay-ms: expected 0 to 30000"),
        (["--delay-ms", "nan"], "--delay-ms: expected 0 to 30000"),
        (["--domain", "233"], "--domain: expected 0 to 232, got 233"),
        (["--set", "task.policy.action_hz=1000"], "policy.action_hz: expected a number between 1 and 200, got 1000"),
        (["--set", "task.policy.action_hz=0"], "policy.action_hz: expected a number between"),
        (["--set", "task.policy.action_hz=fast"], "policy.action_hz: expected a number between"),
        (["--set", "task.policy.action_hz=200", "--set", "task.policy.horizon_s=9"], "gives 1800 steps, expected 1 to 512"),
        (["--set", "world.nothing=1"], "there is no key 'task.world.nothing'"),
        (["--set", "world.cube_size_m"], "expected an override like"),
        (["--checkpoint", "no/such/folder"], "no checkpoint 'no/such/folder': expected a folder"),
    ],
)
def test_one_sentence_and_exit_code_2(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *arguments]) == EXIT_USER_MISTAKE == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err
    assert err.startswith("lawam: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--to", "bag", "--cut", "pause", "--lossless"], "--to bag takes a dataset, not recordings; leave out --cut, --lossless"),
        (["--to", "lerobot-v3", "--pause-s", "2"], "--pause-s says how long a pause is that cuts; add --cut pause"),
        (["--to", "lerobot-v3", "--cut", "pause", "--pause-s", "0.0"], "--pause-s: expected more than 0, got 0"),
    ],
)
def test_what_convert_would_ignore_is_refused(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["convert", "somewhere", "--out", str(tmp_path / "out"), *arguments]) == EXIT_USER_MISTAKE
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert expected in err
    assert not (tmp_path / "out").exists()


def test_the_process_itself(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "lawam_ros.cli.main", "demo", "--set", "task.policy.action_hz=1000", "--out", str(tmp_path / "out")]
    result = subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("lawam: task franka_pick_place.policy.action_hz: expected a number between 1 and 200")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "code"), [(EnvironmentLacks("no renderer"), EXIT_ENVIRONMENT_LACKS), (LawamError("it latched"), EXIT_CRITERION_MISSED)]
)
def test_other_ends(error: LawamError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(demo, "run", fail)
    assert main(["demo"]) == code
    assert capsys.readouterr().err == f"lawam: {error}\n"


@pytest.mark.parametrize("arguments", [[], ["dance"], ["demo", "--episodes", "three"], ["demo", "--device", "gpu"]])
def test_what_the_parser_refuses_has_the_same_code(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == EXIT_USER_MISTAKE
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["--version"]])
def test_help_and_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    assert "lawam" in capsys.readouterr().out
