"""What the worker makes of an observation: prefixes, delays that are measured, chunks that come too late, and the times of each step."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 messages are not installed")

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import ActionChunk, JointCommand, Observation, Pose
from lawam_ros.nodes import chunk_maker, messages
from lawam_ros.nodes.camera_input import CameraInputs
from lawam_ros.nodes.chunk_maker import ChunkMaker, MakerSettings
from lawam_ros.nodes.commanded_rows import CommandedRows
from lawam_ros.nodes.images import rgb_to_image
from lawam_ros.nodes.replay_inputs import PlannedLook
from lawam_ros.nodes.status import ExecutorStatus
from lawam_ros.observe.alignment import Aligned
from lawam_ros.policies.committed import Committed
from lawam_ros.policies.holding import HoldingPolicy
from lawam_ros.policies.interface import Inference

MS = 1_000_000
START_NS = 10**12
CONTRACT = load_contract("franka_pick_place")
SETTINGS = MakerSettings(rtc=True, seed=0, added_delay_s=0.0, stepped_latency_s=None, stepped_timeout_s=1.0)


class Slow(HoldingPolicy):
    """Takes ``takes_ms`` of the bench's time and remembers what it was to continue."""

    exact = False

    def look(self, observation: Observation, seed: int, committed: Committed | None = None) -> Inference:
        self.bench.now_ns += self.takes_ms * MS
        self.committed, self.seen_ns = committed, observation.stamp_ns
        steps = committed.delay_steps if committed else 0
        return Inference(np.zeros((24, 0)), committed_steps=steps, exact_prefix=self.exact and steps > 0)


class Bench:
    """A maker, its time, and an executor that does what the test says."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self.policy = Slow(CONTRACT)
        self.policy.bench, self.policy.takes_ms = self, 50
        self.cameras = CameraInputs(CONTRACT.robot, ("front", "wrist"), stepped=False)
        self.commanded = CommandedRows(CONTRACT.robot)
        self.sent: list[ActionChunk] = []
        self.maker = ChunkMaker(CONTRACT, self.policy, self.cameras, self.commanded, SETTINGS, self.sent.append, lambda: self.now_ns)
        self.status = ExecutorStatus(START_NS, "RUN", "", 0, 1, START_NS, "move", "measured", 0, 0, 0, "")

    def look(self) -> ActionChunk | None:
        """An image exposed now that arrives 2 ms later."""
        stamp_ns = self.now_ns
        robot = CONTRACT.robot
        for at_ns in (stamp_ns - 4 * MS, stamp_ns, stamp_ns + 4 * MS):
            pose = Pose(np.array([0.5, 0.0, 0.3]), np.array([1.0, 0.0, 0.0, 0.0]))
            self.commanded.pose_callback("arm")(messages.pose_to_message(pose, at_ns, "base"))
            self.commanded.command(JointCommand(at_ns, np.zeros(7), np.zeros(7), np.zeros(7), {"arm": 0.04}))
        image = {c.name: rgb_to_image(np.full((c.height, c.width, 3), 90, np.uint8), stamp_ns, "") for c in robot.cameras}
        self.now_ns += 2 * MS
        for name, message in image.items():
            self.cameras[name].arrived(message, self.now_ns, None)
        joints = dict(zip(robot.joint_names, robot.arms[0].home_rad.tolist(), strict=True)) | dict.fromkeys(
            robot.arms[0].gripper.joints, 0.02
        )
        made = self.maker.make(Aligned(stamp_ns, image, dict.fromkeys(image, stamp_ns), joints), self.status)
        return None if made is None else made.chunk

    def accept(self, after_ms: int = 3) -> None:
        self.now_ns += after_ms * MS
        last = self.sent[-1]
        self.status = replace(self.status, stamp_ns=self.now_ns, accepted_sequence=last.sequence, judged_stamp_ns=last.stamp_ns)
        self.maker.judged(self.status)

    @property
    def delay_ms(self) -> float | None:
        return self.maker.report().get("delay_ms")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_first_chunk_is_free_the_second_still_cold_and_the_third_continues(bench):
    for _ in range(2):
        assert bench.look().committed_steps == 0
        bench.accept()
    assert bench.policy.committed is None and bench.delay_ms == pytest.approx(55.0)
    third = bench.look()
    assert third.committed_steps == bench.policy.committed.delay_steps == 2
    assert [chunk.sequence for chunk in bench.sent] == [1, 2, 3]


@pytest.mark.parametrize(
    "said", [{"state": "HOLD"}, {"epoch": 2}, {"accepted_sequence": 1, "judged_stamp_ns": 2 * START_NS}], ids=["hold", "epoch", "refused"]
)
def test_a_prefix_is_dropped_when_the_last_chunk_does_not_run(bench, said):
    for _ in range(2):
        bench.look()
        bench.accept()
    bench.status = replace(bench.status, **said)
    assert bench.look().committed_steps == 0


def test_the_delay_is_the_one_until_the_tick_that_used_the_chunk(bench):
    bench.look()
    bench.accept()
    bench.look()
    assert bench.delay_ms == pytest.approx(52.0 + 4.0), "expected: the next tick uses it"
    bench.accept(after_ms=9)
    assert bench.delay_ms == pytest.approx(61.0), "measured"
    bench.maker.judged(replace(bench.status, stamp_ns=bench.now_ns + 100 * MS))
    assert bench.delay_ms == pytest.approx(61.0), "said again later, it counts no more"


def test_a_delay_that_rises_counts_for_the_very_next_chunk(bench):
    for _ in range(3):
        bench.look()
        bench.accept()
    bench.policy.takes_ms = 300
    bench.look()
    assert bench.look().committed_steps == 7, "before the executor has judged the slow one"


def test_a_chunk_whose_exact_prefix_has_run_out_is_discarded_and_the_next_one_is_not(bench):
    bench.policy.exact = True
    for _ in range(3):
        bench.look()
        bench.accept()
    assert bench.sent[-1].committed_steps == 2 and bench.maker.report()["prefix"] == "trained"
    bench.policy.takes_ms = 140
    assert bench.look() is None and len(bench.sent) == 3
    assert "conditioned on 2 steps of delay, 3 have passed" in bench.maker.missing
    assert bench.maker.report()["discarded"] == 1
    assert bench.look().committed_steps == 3


def test_the_steps_are_those_of_the_way(bench):
    bench.look()
    bench.accept()
    report = bench.maker.report()
    assert report["step_ms_arrival_p50"] == 2.0 and report["step_ms_model_p50"] == 50.0 and report["step_ms_first_command_p50"] == 3.0
    assert report["step_ms_observation_to_command_p50"] == 55.0


def test_in_a_replay_the_policy_is_told_the_recorded_instant_and_the_chunk_has_the_published_one(bench):
    bench.maker.planned = {START_NS: PlannedLook(START_NS, START_NS, recorded_ns=7 * MS, ready_ns=0)}
    assert bench.look().stamp_ns == START_NS
    assert bench.policy.seen_ns == 7 * MS


def test_in_a_replay_a_chunk_is_kept_back_until_the_recorded_one_was_used(bench, monkeypatch):
    slept_s = []
    monkeypatch.setattr(chunk_maker.time, "sleep", slept_s.append)
    bench.maker.planned = {START_NS: PlannedLook(START_NS, START_NS, START_NS, ready_ns=START_NS + 152 * MS)}
    bench.look()
    assert slept_s == [pytest.approx(0.1)], "the policy took 52 ms"
    later_ns = bench.now_ns
    bench.maker.planned = {later_ns: PlannedLook(later_ns, later_ns, later_ns, ready_ns=later_ns + 20 * MS)}
    bench.look()
    assert slept_s[1:] == [0.0], "one that is late goes out at once"
