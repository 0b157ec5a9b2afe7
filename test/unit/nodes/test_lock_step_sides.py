"""What executor and policy keep in mind in lock step."""

import numpy as np
import pytest

from lawam_ros.contract.records import ActionChunk
from lawam_ros.control.lock_step import INFER, SKIP, LookRule
from lawam_ros.nodes import messages
from lawam_ros.nodes.lock_step import step_from_message, step_to_message
from lawam_ros.nodes.status import ExecutorStatus
from lawam_ros.nodes.stepped_looks import SteppedLooks
from lawam_ros.nodes.stepped_ticks import SteppedTicks

MS = 1_000_000


def chunk(stamp_ms: int) -> ActionChunk:
    return ActionChunk(stamp_ms * MS, "base", (), np.zeros((1, 0)), np.zeros(1), sequence=1, epoch=1, contract_crc=0)


def status(stamp_ms: int, state: str = "RUN", epoch_stamp_ms: int = 0) -> ExecutorStatus:
    return ExecutorStatus(stamp_ms * MS, state, "", 0, 1, epoch_stamp_ms * MS, "put", "measured", 0, 0, 0, "")


def test_steps_survive_the_wire():
    newest = {"/joint_states": 8 * MS, "/camera/front/image_raw": 4 * MS}
    assert step_from_message(step_to_message(12_000_000_008 * MS, newest)) == (12_000_000_008 * MS, newest)
    broken = step_to_message(0, {})
    broken.status.clear()
    with pytest.raises(messages.BadMessage, match="expected a step of lock step"):
        step_from_message(broken)


def test_a_step_is_ticked_once_when_its_inputs_are_there():
    ticks = SteppedTicks("/joint_states", 100 * MS)
    assert ticks.announced(0, {"/joint_states": 0}) and ticks.due_ns() is None
    ticks.ledger.arrived("/joint_states", 0)
    assert ticks.due_ns() == 0
    ticks.ticked_ns = 0
    assert ticks.due_ns() is None
    assert not ticks.announced(0, {"/joint_states": 0}), "asked again, not ticked again"
    assert ticks.announced(4 * MS, {"/joint_states": 0}) and ticks.due_ns() == 4 * MS


def test_chunks_wait_for_their_latency():
    ticks = SteppedTicks("/joint_states", 100 * MS)
    for stamp in (60, 50):
        ticks.hold(chunk(stamp))
    assert ticks.released(149 * MS) == []
    assert [c.stamp_ns for c in ticks.released(160 * MS)] == [50 * MS, 60 * MS]
    assert ticks.released(200 * MS) == []


def always(frame_ns: int) -> bool:
    return True


def looks() -> SteppedLooks:
    return SteppedLooks("/front", ["/front", "/wrist", "/joint_states"], LookRule(100 * MS, 0))


def test_a_frame_is_decided_on_when_everything_of_its_step_is_there():
    policy = looks()
    assert policy.arrived("/front", 52 * MS) is None
    policy.step(52 * MS, {"/front": 52 * MS, "/wrist": 52 * MS, "/joint_states": 48 * MS})
    policy.status(status(48))
    policy.arrived("/wrist", 52 * MS)
    policy.arrived("/joint_states", 48 * MS)
    assert policy.decided(always) is None, "the executor has not ticked this step"
    policy.status(status(52))
    stamp, verdict, said = policy.decided(always)
    assert (stamp, verdict, said.stamp_ns) == (52 * MS, INFER, 52 * MS)
    assert policy.decided(always) is None
    assert policy.arrived("/front", 52 * MS) == INFER, "asked again, the same answer"


def test_frames_are_decided_in_order_and_skipped_while_nobody_wants_chunks():
    policy = looks()
    for stamp in (0, 52, 104):
        policy.arrived("/front", stamp * MS)
    policy.step(104 * MS, {})
    policy.status(status(104, "HOLD"))
    assert [policy.decided(always)[:2] for _ in range(3)] == [(0, SKIP), (52 * MS, INFER), (104 * MS, SKIP)]
    policy.arrived("/front", 156 * MS)
    policy.step(156 * MS, {})
    policy.status(status(156, "LATCHED"))
    assert policy.decided(always)[1] == SKIP


def test_the_frame_after_one_without_an_observation_is_looked_at():
    policy = SteppedLooks("/front", ["/front"], LookRule(100 * MS, 800 * MS))
    verdicts = []
    for stamp in (52, 104, 156):
        policy.arrived("/front", stamp * MS)
        policy.step(stamp * MS, {})
        policy.status(status(stamp))
        verdicts.append(policy.decided(lambda frame_ns: frame_ns != 52 * MS)[1])
    assert verdicts == [SKIP, INFER, SKIP]
