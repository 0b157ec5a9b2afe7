"""Lock step in real processes: runs repeat bit for bit, also without ROS, and whoever does not answer is named."""

import json
import os
import signal
import time

import pytest
from running_graph import TASK

from lawam_ros import bringup
from lawam_ros.cli.episodes import run_episode
from lawam_ros.cli.main import main
from lawam_ros.cli.simulated_run import simulated_run
from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.load import load_contract

SHORT = ["--set", "task.episode.timeout_s=3.5"]


def evaluated(capsys, *arguments):
    code = main(["eval", "--task", TASK, "--episodes", "2", "--seed", "10007", "--no-video", "--json", *SHORT, *arguments])
    assert code == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def hashes(report):
    return [row["command_hash"] for row in report["episodes_detail"]]


def test_a_run_repeats_and_does_not_need_ros(capsys, tmp_path):
    """The shipped policy, twice through the graph and once without it."""
    first, again = (evaluated(capsys, "--out", str(tmp_path)) for _ in range(2))
    direct = evaluated(capsys, "--through", "direct", "--out", str(tmp_path))
    assert hashes(first) == hashes(again) == hashes(direct)
    assert len(set(hashes(first))) == 2
    assert first["limit_violations"] == direct["limit_violations"] == 0
    assert first["control_hz"] == pytest.approx(250.0, abs=0.1), "the judge saw every set-point"
    assert (first["clock"], direct["clock"]) == ("lockstep", "stepped")
    for row, other in zip(first["episodes_detail"], direct["episodes_detail"], strict=True):
        assert row["final_error_m"] == pytest.approx(other["final_error_m"], abs=1e-3)
    # Chunks are used 100 ms after their observation, a new one every period (on the cameras' grid of 50 ms, first tick after).
    assert first["observation_to_command_ms_p50"] == direct["observation_to_command_ms_p50"] == 100.0
    period_s = load_contract(TASK).task.policy.replan_period_s
    assert first["reaction_ms_mean"] == pytest.approx(100.0 + 1e3 * period_s / 2.0, abs=10)


def test_latency_changes_the_run(capsys, tmp_path):
    base = hashes(evaluated(capsys, "--through", "direct", "--out", str(tmp_path)))
    slow = evaluated(capsys, "--through", "direct", "--delay-ms", "150", "--out", str(tmp_path))
    assert hashes(slow) != base
    assert slow["observation_to_command_ms_p50"] == pytest.approx(252.0, abs=4)


@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGKILL])
def test_a_policy_that_does_not_answer_is_named(stop):
    values = bringup.defaults(TASK) | {"view": "false", "clock": "lockstep", "seed": "10000"}
    with simulated_run(TASK, values, lockstep_timeout_s=2.0) as run:
        process = run.group.state("policy").pid

        def interfere(elapsed_s: float) -> None:
            if run.client.world is not None and run.client.world.time_s > 0.5:
                try:
                    os.kill(process, stop)
                except ProcessLookupError:
                    return

        started = time.monotonic()
        try:
            with pytest.raises(LawamError, match=r"lock step stood still for 2 s, no answer from policy"):
                run_episode(run.client, run.group, run.contract, 10000, interfere, lockstep=True)
        finally:
            if stop == signal.SIGSTOP:
                os.kill(process, signal.SIGCONT)
        assert time.monotonic() - started < 30
