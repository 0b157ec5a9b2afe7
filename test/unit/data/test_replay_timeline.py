"""The inputs of a recording in the order of their stamps, and what is wrong with them."""

from pathlib import Path

import bag_files
import numpy as np
import pytest
from bag_files import IMAGE, JOINT_STATE, Entry

from lawam_ros.contract.load import load_contract
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_streams import bag_streams
from lawam_ros.data.recorded_run import read_run
from lawam_ros.data.replay_timeline import Timeline

MS = 1_000_000
ROBOT = load_contract("franka_pick_place", overrides=["robot.cameras.wrist.latency_s=0.03"]).robot
PIXELS = np.zeros((4, 4, 3), dtype=np.uint8)


def joint(stamp_ms: int, received_ms: int | None = None) -> Entry:
    received_ms = stamp_ms if received_ms is None else received_ms
    return "/joint_states", JOINT_STATE, received_ms * MS, bag_files.joints(stamp_ms * MS, {"a": 0.0})


def image(name: str, stamp_ms: int, received_ms: int) -> Entry:
    return f"/camera/{name}/image_raw", IMAGE, received_ms * MS, bag_files.image(stamp_ms * MS, PIXELS)


@pytest.fixture
def opened(tmp_path: Path):
    bags = []

    def open_bag(entries: list[Entry]):
        bag = Bag(bag_files.foreign_mcap(tmp_path / f"{len(bags)}.mcap", sorted(entries, key=lambda entry: entry[2])))
        bags.append(bag)
        return bag, bag_streams(bag.topics, ROBOT, {})

    yield open_bag
    for bag in bags:
        bag.close()


def played(timeline: Timeline, until_ms: int) -> list[tuple[int, str, int]]:
    """When, what, and of which instant; a step of 4 ms at a time."""
    return [(now, m.stream, m.stamp_ns // MS) for now in range(0, until_ms, 4) for m in timeline.until(now * MS)]


def test_messages_come_by_their_stamps_not_by_their_receipt(opened) -> None:
    bag, streams = opened([joint(8), joint(16), joint(24), image("front", 10, 70), image("wrist", 50, 90)])
    # The wrist's exposure is 30 ms before its stamp.
    assert played(Timeline(bag, streams, ROBOT, {}), 40) == [
        (8, "joint_states", 8),
        (12, "front", 10),
        (16, "joint_states", 16),
        (20, "wrist", 20),
        (24, "joint_states", 24),
    ]


def test_a_frame_can_be_held_back(opened) -> None:
    bag, streams = opened([joint(0), image("front", 10, 12), joint(30)])
    timeline = Timeline(bag, streams, ROBOT, {("front", 10 * MS): 30 * MS})
    assert [(now, stream) for now, stream, _ in played(timeline, 40)] == [(0, "joint_states"), (32, "front"), (32, "joint_states")]


def test_repeated_disordered_and_truncated_messages_are_left_out_and_named(opened) -> None:
    short = ("/joint_states", JOINT_STATE, 30 * MS, joint(0)[3][:8])
    cut = ("/joint_states", JOINT_STATE, 34 * MS, joint(34)[3][:40])
    bag, streams = opened([joint(8), joint(16), joint(16, 17), joint(12, 20), short, cut, joint(40)])
    timeline = Timeline(bag, streams, ROBOT, {})
    assert [stamp for _, _, stamp in played(timeline, 60)] == [8, 16, 40]
    assert timeline.damaged == 1
    assert read_run(bag, streams, ROBOT).problems[1:] == (
        "joint states: 1 damaged messages left out",
        "joint states: 1 messages stamped before the one before left out",
    )


def test_time_that_goes_back_is_named_and_ends_the_replay(opened) -> None:
    bag, streams = opened([*(joint(k) for k in range(1000, 3000, 8)), *(joint(k, 3000 + k) for k in range(1000, 3000, 8))])
    timeline = Timeline(bag, streams, ROBOT, {})
    assert len(played(timeline, 4000)) == 250 and timeline.ended
    _, problem = read_run(bag, streams, ROBOT).problems
    assert "time goes back by 2.0 s" in problem and "249 messages" in problem
