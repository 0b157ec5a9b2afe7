"""A run against the wall clock says so where the machine was too slow for it."""

import argparse
from pathlib import Path

import pytest

from lawam_ros.cli import demo
from lawam_ros.cli.episodes import EpisodeResult
from lawam_ros.cli.run_figures import RunFigures
from lawam_ros.cli.run_summary import slowness, summarise
from lawam_ros.contract.load import load_contract

CONTRACT = load_contract("franka_pick_place")  # 250 Hz, chunks of 1.2 s


def summary_with(chunk_ms: float | None, control_hz: float | None) -> dict[str, object]:
    result = EpisodeResult(12000, True, "success", 8.0, 0.01, 0.01, {}, "")
    return summarise("franka_pick_place", 12000, 0.0, [result], RunFigures(chunk_ms, chunk_ms, 100.0, control_hz, 300.0, 0), [])


@pytest.mark.parametrize(("chunk_ms", "control_hz"), [(120.0, 250.0), (590.0, 240.0), (None, None)])
def test_a_machine_that_keeps_up_is_not_mentioned(chunk_ms: float | None, control_hz: float | None) -> None:
    assert slowness(summary_with(chunk_ms, control_hz), CONTRACT) == ""


@pytest.mark.parametrize(
    ("chunk_ms", "control_hz", "told"),
    [
        (2274.0, 249.0, "a chunk takes 2274 ms and covers 1200 ms of motion: this machine"),
        (120.0, 224.0, "224 of 250 commands a second were seen: this machine"),
        (2274.0, 224.0, "motion and 224 of 250"),
    ],
)
def test_what_was_too_slow_is_told_with_its_figures(chunk_ms: float, control_hz: float, told: str) -> None:
    assert told in slowness(summary_with(chunk_ms, control_hz), CONTRACT)


@pytest.mark.parametrize(("chunk_ms", "noted"), [(120.0, False), (2274.0, True)])
def test_the_demo_prints_it_below_the_table(
    chunk_ms: float, noted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "check_before_start", lambda *_: None)
    monkeypatch.setattr(demo, "run_task", lambda *_: summary_with(chunk_ms, 250.0))
    parser = argparse.ArgumentParser()
    demo.add_parser(parser.add_subparsers())
    args = parser.parse_args(["demo", "--out", str(tmp_path)])
    assert args.run(args) == 0
    assert ("\nnote " in capsys.readouterr().out) == noted
