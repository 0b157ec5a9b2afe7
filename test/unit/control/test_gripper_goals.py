"""Goals of a gripper: few, one at a time, tried twice."""

import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.control.gripper_goals import CancelGoal, GripperGoal, GripperGoals

MS = 1_000_000


class Hand:
    """Asks for goals every 20 ms; ``answers``: what becomes of a goal, (seconds, reached, opening_m), or None."""

    def __init__(self, answers=(0.5, True, 0.03)):
        contract = load_contract("franka_pick_place", "franka_fr3")
        self.real = contract.robot.real.gripper
        self.goals = GripperGoals(self.real, contract.robot.arms[0].gripper.opening_max_m)
        self.answers = answers
        self.now_ns = 10**9
        self.sent, self.cancelled = [], []

    def run(self, opening_m, seconds, held=False):
        for _ in range(round(seconds / 0.02)):
            self.now_ns += 20 * MS
            for sent_ns, goal in self.sent:
                if self.answers and self.now_ns - sent_ns == round(self.answers[0] * 1000) * MS:
                    self.goals.finished(goal, *self.answers[1:])
            order = self.goals.waiting(self.now_ns) if held else self.goals.wanted(opening_m, self.now_ns)
            if isinstance(order, GripperGoal):
                self.sent.append((self.now_ns, order))
            elif isinstance(order, CancelGoal):
                self.cancelled.append((self.now_ns, order.goal))

    @property
    def told(self):
        return ["close" if goal.closing else "open" for _, goal in self.sent]


def test_a_wish_becomes_one_goal_however_long_it_lasts():
    hand = Hand()
    hand.run(0.08, 2.0)
    hand.run(0.0, 2.0)
    hand.run(0.01, 2.0)
    hand.run(0.08, 2.0)
    assert hand.told == ["close", "open"]
    assert [goal.opening_m for _, goal in hand.sent] == [0.0, 0.08]
    assert (hand.cancelled, hand.goals.trouble) == ([], "")


def test_a_wish_that_flickers_or_lies_between_the_thresholds_sends_nothing():
    hand = Hand()
    hand.run(0.08, 1.0)
    for _ in range(20):
        hand.run(0.0, 0.06)
        hand.run(0.08, 0.06)
    hand.run(0.04, 1.0)
    assert hand.told == []


def test_a_gripper_that_is_found_closed_or_half_open_is_told_all_the_same():
    for opening_m, told in ((0.0, "close"), (0.06, "open")):
        hand = Hand()
        hand.run(opening_m, 1.0)
        assert hand.told == [told]


def test_nothing_is_sent_before_a_wish_is_clear():
    hand = Hand()
    hand.run(0.04, 1.0)
    assert hand.told == []


def test_a_new_wish_cancels_the_outstanding_goal_and_waits_for_its_end():
    hand = Hand(answers=None)
    hand.run(0.0, 0.5)
    hand.run(0.08, 0.5)
    ((_, cancelled),) = hand.cancelled
    assert cancelled is hand.sent[0][1]
    assert hand.told == ["close"]
    hand.goals.finished(cancelled, False, 0.05)
    hand.run(0.08, 0.1)
    assert hand.told == ["close", "open"]
    assert hand.goals.trouble == ""


def test_a_goal_cancelled_for_the_old_wish_is_sent_anew():
    """What the gripper did before it was told otherwise is not what it does now."""
    hand = Hand(answers=None)
    hand.run(0.08, 1.0)
    hand.run(0.0, 0.3)
    hand.run(0.08, 0.3)
    hand.goals.finished(hand.cancelled[0][1], False, 0.05)
    hand.run(0.08, 0.1)
    assert hand.told == ["close", "open"]


def test_a_lost_goal_is_reported_tried_once_more_and_then_given_up():
    hand = Hand(answers=None)
    hand.run(0.0, 3.2)
    assert hand.told == ["close", "close"]
    assert "no result came within 3 s; trying once more" in hand.goals.trouble
    first_s = (hand.cancelled[0][0] - hand.sent[0][0]) * 1e-9
    assert first_s == pytest.approx(hand.real.timeout_s, abs=0.04)
    hand.run(0.0, 10.0)
    assert hand.told == ["close", "close"]
    assert "given up" in hand.goals.trouble
    hand.answers = (0.2, True, 0.08)
    hand.run(0.08, 1.0)
    assert hand.told == ["close", "close", "open"]
    assert hand.goals.trouble == ""


def test_an_answer_that_comes_after_the_goal_was_given_up_is_not_heard():
    hand = Hand(answers=None)
    hand.run(0.0, 3.2)
    hand.goals.finished(hand.sent[0][1], True, 0.0)
    assert "trying once more" in hand.goals.trouble


def test_a_grasp_of_an_unexpected_size_is_a_grasp():
    hand = Hand(answers=(0.5, False, 0.031))
    hand.run(0.0, 3.0)
    assert (hand.told, hand.goals.trouble) == (["close"], "")


@pytest.mark.parametrize(("wish_m", "opening_m", "told"), [(0.0, 0.079, "close"), (0.08, 0.02, "open")])
def test_a_stuck_gripper_is_tried_twice(wish_m, opening_m, told):
    hand = Hand(answers=(0.5, False, opening_m))
    hand.run(0.04, 0.1)
    hand.run(wish_m, 5.0)
    assert hand.told == [told, told]
    assert f"expected it to {told}, it did not, the opening is {opening_m:.3f} m; given up" in hand.goals.trouble


def test_while_the_arm_is_held_nothing_is_sent_but_time_goes_on():
    hand = Hand(answers=None)
    hand.run(0.0, 0.2)
    hand.run(0.08, 4.0, held=True)
    assert hand.told == ["close"]
    assert len(hand.cancelled) == 1
    assert "trying once more" in hand.goals.trouble
    hand.run(0.0, 0.2)
    assert hand.told == ["close", "close"]
