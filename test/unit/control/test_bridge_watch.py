"""A bridge in the place of a controller: the executor starts, goes on and says anything only while it obeys and tells what it is told."""

import numpy as np
import pytest
from two_armed import URDF

from lawam_ros.contract.load import load_contract
from lawam_ros.control.executor import ActivationRefused, ChunkExecutor

CONTRACT = load_contract("x1_towel_fold")
ROBOT = CONTRACT.robot
PERIOD_NS = ROBOT.tick_period_ns
HOME = np.concatenate([arm.home_rad for arm in ROBOT.arms])
JOINTS = dict(zip(ROBOT.joint_names, HOME.tolist(), strict=True)) | {arm.gripper.joints[0]: 1.0 for arm in ROBOT.arms}


class Cell:
    """Executor and bridge tick by tick. reference: what the bridge says the robot was told, None for its silence."""

    def __init__(self, reference=HOME):
        self.executor = ChunkExecutor(CONTRACT, URDF, hardware=True)
        self.executor.set_instruction("fold", 0)
        self.now_ns = 10**12
        self.reference = reference
        self.tick()

    def tick(self):
        self.now_ns += PERIOD_NS
        self.executor.measured(self.now_ns, JOINTS)
        if self.reference is not None:
            self.executor.controller.reference(self.reference, self.now_ns)
        return self.executor.tick(self.now_ns)

    def activate(self):
        self.executor.controller.activity(True)
        self.executor.activate(self.now_ns)
        assert self.tick().heard

    def until_stopped(self):
        """Seconds, and the tick's output."""
        begun_ns = self.now_ns
        while True:
            output = self.tick()
            if output.status.state in ("STOP", "LATCHED"):
                return (self.now_ns - begun_ns) * 1e-9, output


@pytest.mark.parametrize(
    ("active", "reference", "expected"),
    [
        (None, HOME, "expected lawam/controller_active to name our controller, it has not yet"),
        (False, HOME, "expected an active controller, it is inactive"),
        (True, None, "expected x1_bridge/reference at least every 0.1 s, none came"),
    ],
)
def test_nothing_starts_before_the_bridge_obeys_and_speaks(active, reference, expected):
    cell = Cell(reference)
    if active is not None:
        cell.executor.controller.activity(active)
    with pytest.raises(ActivationRefused, match=expected):
        cell.executor.activate(cell.now_ns)


def test_a_bridge_that_obeys_no_more_is_sent_nothing_from_the_next_tick_on():
    cell = Cell()
    cell.activate()
    cell.executor.controller.activity(False)
    seconds, output = cell.until_stopped()
    assert seconds <= 0.011 and not output.heard
    assert output.status.reason == "controller_inactive"


@pytest.mark.parametrize(
    ("reference", "reason"), [(None, "controller_silent"), (HOME + 0.11, "controller_refuses"), (HOME * np.nan, "controller_refuses")]
)
def test_a_bridge_that_is_silent_or_tells_the_robot_something_else_stops_the_arms(reference, reason):
    cell = Cell()
    cell.activate()
    cell.reference = reference
    seconds, output = cell.until_stopped()
    assert 0.1 < seconds < 0.125 and not output.heard
    assert output.status.reason == reason


def test_after_a_fault_only_a_restart_of_the_bridge_allows_a_start_from_the_measured_pose():
    cell = Cell()
    cell.activate()
    cell.reference = None
    cell.until_stopped()
    cell.reference = HOME
    cell.tick()
    assert "chunk_executor/recover" in cell.executor.reset(cell.now_ns)
    cell.executor.controller.activity(False)
    cell.executor.controller.activity(True)
    assert cell.executor.reset(cell.now_ns) is None
    output = cell.tick()
    assert output.heard and output.status.initialised_from == "measured"
