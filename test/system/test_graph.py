"""The whole graph in real processes: it moves, keeps the limits, survives its policy, and ends cleanly."""

import dataclasses
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from running_graph import TASK, Graph, running_graph

from lawam_ros import bringup
from lawam_ros.cli.domain import ReservedDomain
from lawam_ros.cli.episodes import run_episode
from lawam_ros.contract.errors import EnvironmentLacks
from lawam_ros.nodes.run_client import RunClient

pytestmark = pytest.mark.flaky(reruns=2)

SEED = 8999
PROCESSES = ("sim", "policy", "chunk_executor")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """One demonstration of the scripted expert, played back by the graph below."""
    from lawam_ros.cli.main import main

    folder = tmp_path_factory.mktemp("data") / "one"
    assert main(["data", "make", "--task", TASK, "--episodes", "1", "--seed", str(SEED), "--noise", "none", "--out", str(folder)]) == 0
    return f"recorded:{folder}#0"


@pytest.fixture
def graph(recording):
    with running_graph(recording, seed=SEED) as running:
        yield running
    assert running.run.checker.violations == 0
    codes = running.run.group.exit_codes
    assert codes == dict.fromkeys(codes, 0), "every process ends cleanly"


PERIOD_NS = 4_000_000


def activate(graph: Graph) -> None:
    """Once more where the middleware, busy with the processes of the test before, held the joint states up before anything moved."""
    graph.wait(graph.client.activate_executor, 10.0, "activation")
    graph.wait(lambda: graph.state() in ("RUN", "LATCHED"), 10.0, "RUN")
    if graph.state() == "LATCHED" and graph.client.status.reason == "joint_states_lost":
        graph.wait(lambda: graph.client.trigger("chunk_executor/reset")[0], 2.0, "reset")
    graph.wait(lambda: graph.state() == "RUN", 10.0, "RUN")


def moving(graph: Graph) -> bool:
    return bool(graph.commands) and float(np.abs(graph.commands[-1].velocities_rad_s).max()) > 0.1


def test_recorded_demonstration_succeeds_through_the_graph(graph):
    activate(graph)
    graph.wait(lambda: graph.client.world is not None and graph.client.world.success, 20.0, "success")
    start, end = graph.commands[0], graph.commands[-1]
    assert np.abs(end.positions_rad - start.positions_rad).max() > 0.1
    assert graph.client.deactivate_executor()
    answered_ns = time.time_ns()
    assert graph.state() == "INACTIVE"
    # The answer may come sooner than this process has read all commands before it; none is made after it.
    graph.wait(lambda: not np.any(graph.commands[-1].velocities_rad_s), 5.0, "a last command at rest")
    assert graph.commands[-1].stamp_ns <= answered_ns + PERIOD_NS
    spacing_ms = np.diff([c.stamp_ns for c in graph.commands]) * 1e-6
    assert np.median(spacing_ms) == pytest.approx(4.0, abs=0.01)
    shares_memory = {name: "fastrtps_port" in Path(f"/proc/{graph.run.group.state(name).pid}/maps").read_text() for name in PROCESSES}
    assert shares_memory == {"sim": True, "policy": True, "chunk_executor": False}


def test_killed_policy_holds_latches_and_resumes_after_reset_only(graph):
    activate(graph)
    graph.wait(lambda: moving(graph), 5.0, "motion")
    graph.run.group.signal("policy", signal.SIGKILL)
    assert graph.wait(lambda: graph.state() != "RUN", 2.0, "HOLD") < 0.6
    graph.wait(lambda: graph.state() == "LATCHED", 3.0, "LATCHED")
    assert graph.client.status.reason == "policy_lost"
    graph.wait(lambda: not np.any(graph.commands[-1].velocities_rad_s), 1.0, "the command at rest, on a topic of its own")
    resting = graph.commands[-1].positions_rad
    graph.wait(lambda: graph.client.heartbeat_age_s() < 0.2, 60.0, "the policy to be started again")
    time.sleep(0.5)
    assert graph.state() == "LATCHED"
    np.testing.assert_array_equal(graph.commands[-1].positions_rad, resting)
    epoch = graph.client.status.epoch
    graph.wait(lambda: graph.client.trigger("chunk_executor/reset")[0], 10.0, "a reset that is accepted")
    graph.wait(lambda: graph.state() in ("HOLD", "RUN"), 2.0, "the end of LATCHED")
    assert graph.client.status.epoch > epoch, "chunks from before the reset must not count"


def test_bad_chunks_are_refused_with_a_reason_and_the_arm_goes_on(graph):
    activate(graph)
    graph.wait(lambda: graph.client.last_chunk is not None, 5.0, "a chunk")
    good = graph.client.last_chunk
    not_finite = dataclasses.replace(good, sequence=10_000, values=np.full_like(good.values, np.nan))
    stale = dataclasses.replace(good, sequence=10_001, stamp_ns=good.stamp_ns - 20_000_000_000)
    foreign = dataclasses.replace(good, sequence=10_002, contract_crc=good.contract_crc ^ 1)
    unreadable = dataclasses.replace(good, sequence=float("nan"))
    for chunk, reasons in (
        (not_finite, ("non_finite",)),
        (stale, ("stamp_before_epoch", "too_old", "expired")),
        (foreign, ("contract",)),
        (unreadable, ("reserved_components",)),
    ):
        before = graph.client.status.rejected
        graph.client.publish_chunk(chunk)
        graph.wait(lambda before=before: graph.client.status.rejected > before, 2.0, "the rejection")
        assert graph.client.status.rejected_reason in reasons
    assert graph.state() in ("RUN", "HOLD")
    graph.wait(lambda: graph.client.world is not None and graph.client.world.success, 20.0, "success in spite of it")


def test_a_run_beside_this_one_hears_nothing_of_it(graph):
    beside = ReservedDomain()
    strangers = [RunClient(graph.run.contract, "", number, lambda _: None) for number in (beside.number, graph.run.domain)]
    try:
        other, same = strangers
        assert beside.number != graph.run.domain
        graph.wait(lambda: same.world is not None and same.status is not None, 10.0, "a client on the same domain to hear the graph")
        time.sleep(1.0)
        assert other.world is None and other.status is None and other.frame is None
    finally:
        for stranger in strangers:
            stranger.close()
        beside.release()


def test_runner_counts_an_episode_with_a_killed_policy_as_failed_and_goes_on(graph):
    def kill_in_motion(elapsed_s: float) -> None:
        if moving(graph) and not killed:
            graph.run.group.signal("policy", signal.SIGKILL)
            killed.append(elapsed_s)

    killed: list[float] = []
    run = graph.run
    failed = run_episode(run.client, run.group, run.contract, SEED, kill_in_motion)
    assert killed
    assert not failed.success
    assert failed.reason == "policy_lost"
    run.checker.restart()
    again = run_episode(run.client, run.group, run.contract, SEED, lambda _: None)
    assert again.success, again


def test_a_camera_that_never_appears_ends_in_one_sentence(recording, monkeypatch):
    elsewhere = {"overrides": "robot.cameras.wrist.topic=nowhere/image_raw"}
    nodes_for = bringup.nodes_for
    monkeypatch.setattr(
        bringup,
        "nodes_for",
        lambda task, values: tuple(
            dataclasses.replace(node, parameters={**node.parameters, **elsewhere}) if node.name == "policy" else node
            for node in nodes_for(task, values)
        ),
    )
    sentence = r"the policy got no observation .* camera wrist \(topic /nowhere/image_raw\): no image yet"
    with running_graph(recording, seed=SEED) as lost, pytest.raises(EnvironmentLacks, match=sentence):
        run_episode(lost.client, lost.run.group, lost.run.contract, SEED, lambda _: None)
