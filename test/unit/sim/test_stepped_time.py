"""Streams and ends of episodes in stepped time."""

from dataclasses import replace

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.task import Episode
from lawam_ros.sim.episode_end import EpisodeEnd
from lawam_ros.sim.stepped_streams import SteppedStreams

MS = 1_000_000
START = 10_000 * 10**12


def test_streams_keep_their_rates_on_the_grid_of_ticks():
    robot = load_contract("franka_pick_place").robot
    streams = SteppedStreams(robot, 125.0, lambda topic: f"/{topic}")
    streams.begin(START)
    seen: dict[str, list[int]] = {"joints": [], "pictures": [], "status": []}
    for _ in range(60):
        due = streams.due()
        for name, at in seen.items():
            if getattr(due, name):
                at.append((streams.now_ns - START) // MS)
        streams.advance(said=False)
    assert seen["joints"] == list(range(0, 240, 8))
    assert seen["pictures"] == [0, 52, 100, 152, 200], "first tick not before every 50 ms"
    assert seen["status"] == [0, 100, 200]
    assert streams.newest["/joint_states"] == START + 232 * MS
    assert streams.newest["/camera/front/image_raw"] == START + 200 * MS


def test_news_are_told_at_once():
    streams = SteppedStreams(load_contract("franka_pick_place").robot, 125.0, str)
    streams.begin(0)
    streams.due()
    streams.advance(said=True)
    assert streams.due().status


def command(stamp_ms: int, position: float = 0.1) -> JointCommand:
    joints = np.full(7, position)
    return JointCommand(stamp_ms * MS, joints, 0 * joints, 0 * joints, {"arm": 0.04})


def play(end: EpisodeEnd, successes: list[bool], start_ms: int = 0, position: float = 0.1) -> str:
    for index, success in enumerate(successes):
        now = start_ms + 100 * index
        end.update(now * MS, command(now, position), success)
    return end.reason


def test_success_must_be_held():
    episode = Episode(timeout_s=2.0, settle_s=0.5)
    assert play(EpisodeEnd(episode), [False, True, True, False, True, True, True, True, True]) == ""
    assert play(EpisodeEnd(episode), [False, True, True, False, True, True, True, True, True, True]) == "success"
    assert play(EpisodeEnd(episode), [False] * 20) == ""
    assert play(EpisodeEnd(episode), [False] * 21) == "timeout"


def test_the_hash_tells_commands_apart_and_not_when_they_began():
    episode = Episode(timeout_s=9.0, settle_s=0.5)
    ends = [EpisodeEnd(episode) for _ in range(4)]
    play(ends[0], [False] * 3)
    play(ends[1], [False] * 3, start_ms=5000)
    play(ends[2], [False] * 3, position=np.nextafter(0.1, 1.0))
    play(ends[3], [False] * 4)
    hashes = [end.command_hash for end in ends]
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3


def test_nothing_counts_after_the_end():
    end = EpisodeEnd(replace(Episode(timeout_s=0.1, settle_s=0.0)))
    play(end, [True])
    before = end.command_hash
    end.update(900 * MS, command(900), False)
    assert (end.reason, end.command_hash) == ("success", before)


@pytest.mark.parametrize("task", ["franka_pick_place", "franka_drawer"])
def test_tasks_say_how_long_an_episode_lasts(task):
    episode = load_contract(task).task.episode
    assert episode.timeout_s > episode.settle_s > 0
