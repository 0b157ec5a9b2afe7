"""``lawam bench graph`` with the real nodes, as short as it goes: what it measures is there and fits together."""

import json

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from lawam_ros.cli.main import main
from lawam_ros.policies.step_times import STEPS, TOTAL


def test_the_way_from_image_to_tick_is_measured_and_broken_down(capsys):
    assert main(["bench", "graph", "--seconds", "1.5", "--replan", "0.05", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    total, steps = report["observation_to_tick_ms"], report["steps_ms"]
    assert report["chunks"] >= 5 and 0.0 < total["p50"] <= total["p99"] <= total["max"]
    assert set(steps) == {*STEPS, TOTAL}
    assert all(steps[name]["p50"] > 0.0 for name in ("arrival", "queue", "preparation", "publication", TOTAL))
    # Within the tail of the chunks it speaks of (those of the warm-up too), the node's own account is what is seen from outside.
    assert steps[TOTAL]["p50"] <= total["max"] and total["p50"] <= steps[TOTAL]["p99"] + 1e-3
    assert [mark["limit"] for mark in report["marks"]] == [8.0, 15.0]
    assert all(mark["met"] == (mark["value"] <= mark["limit"]) for mark in report["marks"])
    assert set(report["machine"]["cpu_percent"]) == {"policy", "chunk_executor"}


@pytest.mark.parametrize("arguments", ["--seconds 0", "--replan 2"])
def test_numbers_that_cannot_be_are_refused(capsys, arguments):
    assert main(["bench", "graph", *arguments.split()]) == 2
    assert "--seconds from 1 to 3600" in capsys.readouterr().err
