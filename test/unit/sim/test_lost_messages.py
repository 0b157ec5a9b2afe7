"""Streams of a simulated robot that fall silent for a while."""

import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.sim.losses import JOINT_STATES, Loss, is_lost, losses_from_text
from lawam_ros.sim.stepped_streams import SteppedStreams

MS = 1_000_000
START_NS = 10_000 * 10**12
STREAMS = ("front", "wrist", JOINT_STATES)


def test_losses_are_read_from_text():
    assert losses_from_text("wrist:0.5:1.7;joint_states:2:2.25;", STREAMS) == (Loss("wrist", 0.5, 1.7), Loss(JOINT_STATES, 2.0, 2.25))
    assert losses_from_text("", STREAMS) == ()


@pytest.mark.parametrize(
    "text",
    ["wrist", "wrist:1", "wrist:1:2:3", "side:1:2", "wrist:2:1", "wrist:1:1", "wrist:0:1", "wrist:one:2", "wrist:1:inf", "wrist:nan:2"],
)
def test_mistakes_are_one_sentence(text):
    with pytest.raises(UserMistake, match="expected STREAM:FROM:TO .* with one of front, wrist, joint_states, got wrist|got side"):
        losses_from_text(text, STREAMS)


def test_a_stream_is_lost_from_the_first_instant_to_before_the_last():
    losses = losses_from_text("wrist:0.5:1.5;wrist:2:3", STREAMS)
    assert [is_lost(losses, "wrist", t) for t in (0.49, 0.5, 1.49, 1.5, 2.0)] == [False, True, True, False, True]
    assert not is_lost(losses, "front", 1.0)


def test_in_lock_step_nothing_is_announced_of_a_lost_stream_and_the_others_keep_their_rates():
    robot = load_contract("franka_pick_place").robot
    losses = losses_from_text("wrist:0.1:0.2;joint_states:0.05:0.15", STREAMS)
    streams = SteppedStreams(robot, 125.0, str, losses)
    for _ in range(2):  # in every episode anew
        streams.begin(START_NS)
        sent: dict[str, list[int]] = {name: [] for name in STREAMS}
        for _ in range(65):
            due = streams.due()
            for name in (*due.cameras, *([JOINT_STATES] if due.joints else [])):
                sent[name].append((streams.now_ns - START_NS) // MS)
                topic = robot.joint_states_topic if name == JOINT_STATES else robot.camera(name).topic
                assert streams.newest[topic] == streams.now_ns
            streams.advance(said=False)
        assert sent["front"] == [0, 52, 100, 152, 200, 252]
        assert sent["wrist"] == [0, 52, 200, 252]
        assert sent[JOINT_STATES] == [*range(0, 50, 8), *range(152, 260, 8)]
        assert streams.newest[robot.camera("wrist").topic] == START_NS + 252 * MS
