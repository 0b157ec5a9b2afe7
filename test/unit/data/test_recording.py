"""A recording beside a robot: everything is in the bag, and a disk without room ends the recording and nothing else."""

import time
from pathlib import Path

import bag_files
import pytest
from bag_files import STRING

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.recorded_topics import recorded_topics
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.data.recording import Recording

MB = 2**20
BIG = bag_files.string("x" * MB)


def started(folder: Path, **options) -> Recording:
    writer = BagWriter(folder)
    writer.add_topic("/text", STRING)
    return Recording(writer, **options)


def ended(recording: Recording) -> str:
    deadline = time.monotonic() + 10.0
    while not recording.ended and time.monotonic() < deadline:
        time.sleep(0.01)
    return recording.ended


def test_everything_taken_is_written_in_order(tmp_path: Path) -> None:
    recording = started(tmp_path / "bag", keep_free_bytes=0)
    for k in range(500):
        recording.take("/text", k, bag_files.string(str(k)))
    recording.stop()
    with Bag(tmp_path / "bag") as bag:
        assert [bag.decode(m).data for m in bag.messages()] == [str(k) for k in range(500)]
        assert bag.problems == []
    assert (recording.count, recording.dropped, recording.ended) == (500, 0, "")


def test_it_ends_with_a_reason_and_a_whole_bag_before_the_disk_is_full(tmp_path: Path) -> None:
    free = 100 * MB
    recording = started(tmp_path / "bag", keep_free_bytes=90 * MB, free_bytes=lambda _: free - recording.size_bytes)
    for k in range(30):
        recording.take("/text", k, BIG)
    assert "90 MB are kept free" in ended(recording)
    recording.take("/text", 99, BIG)
    recording.stop()
    with Bag(tmp_path / "bag") as bag:
        written = len(list(bag.messages()))
        assert 9 <= written <= 15 and bag.problems == []


def test_a_disk_that_refuses_ends_it_with_a_reason_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = started(tmp_path / "bag", keep_free_bytes=0)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recording._writer, "write", refuse)
    recording.take("/text", 0, BIG)
    assert ended(recording).startswith("the disk takes no more (No space left on device)")
    recording.stop()


def test_a_slow_disk_costs_messages_not_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = started(tmp_path / "bag", keep_free_bytes=0)
    monkeypatch.setattr(recording._writer, "write", lambda *_: time.sleep(0.2))
    for k in range(400):
        recording.take("/text", k, BIG)
    assert 100 < recording.dropped < 400


def test_every_topic_recorded_has_a_type_the_writer_knows(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag")
    topics = recorded_topics(load_contract("franka_pick_place").robot)
    assert all(writer.knows(topic.type) for topic in topics)
    assert len({topic.name for topic in topics}) == len(topics)
    assert len(topics) == len(recorded_topics(load_contract("franka_pick_place").robot, subgoals=False)) + 2
    writer.abandon()


def test_what_a_bridge_is_told_is_recorded_where_nothing_obeys_it(tmp_path: Path) -> None:
    robot = load_contract("x1_towel_fold").robot
    bridge = robot.bridge
    assert bridge is not None
    simulated, bridged = recorded_topics(robot), recorded_topics(robot, bridged=True)
    added = {topic.name: topic.kept_as for topic in bridged if topic not in simulated}
    assert added == {
        bridge.command_topic: "recorded/x1_bridge/set_points",
        bridge.reference_topic: "",
        "lawam/controller_active": "",
    }
    assert bridge.command_topic not in {topic.kept_as or topic.name for topic in bridged}
    writer = BagWriter(tmp_path / "bag")
    assert all(writer.knows(topic.type) for topic in bridged)
    writer.abandon()
    panda = load_contract("franka_pick_place").robot
    assert recorded_topics(panda, bridged=True) == recorded_topics(panda)
