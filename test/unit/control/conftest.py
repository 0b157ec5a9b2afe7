"""A robot that does exactly as told, around the executor: every command is checked for limits as it is sent."""

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.executor import ChunkExecutor
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.control.limiter import stacked_limits

FINGERS = ("panda_finger_joint1", "panda_finger_joint2")


class Bench:
    def __init__(self, contract, urdf_text):
        self.contract = contract
        self.robot = contract.robot
        self.period_ns = self.robot.tick_period_ns
        self.executor = ChunkExecutor(contract, urdf_text)
        self.checker = LimitChecker(stacked_limits([arm.limits for arm in self.robot.arms]))
        self.violations = []
        self.now_ns = 10**9
        self.joints = np.concatenate([arm.home_rad for arm in self.robot.arms])
        self.opening_m = 0.08
        self.sequence = 0
        self.measuring = True
        self.out = None
        self.history = []

    @property
    def status(self):
        return self.executor.status

    @property
    def pose(self):
        return self.out.poses[self.robot.arms[0].name]

    def measure(self):
        message = dict(zip(self.robot.joint_names, self.joints.tolist(), strict=True))
        for arm in self.robot.arms:
            message.update(dict.fromkeys(arm.gripper.joints, self.opening_m / 2.0))
        self.executor.measured(self.now_ns, message)

    def activate(self):
        self.measure()
        self.executor.activate(self.now_ns)
        return self.tick(step_ns=0)

    def tick(self, step_ns=None):
        self.now_ns += self.period_ns if step_ns is None else step_ns
        if self.measuring:
            self.measure()
        self.out = self.executor.tick(self.now_ns)
        command = self.out.command
        self.violations += self.checker.add(command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2)
        self.joints = command.positions_rad
        self.history.append(self.out)
        return self.out

    def run(self, seconds, each=None):
        for _ in range(round(seconds * 1e9 / self.period_ns)):
            if each is not None:
                each()
            self.tick()
        return self.out

    def until(self, condition, seconds=5.0):
        """Seconds it took until the condition holds after a tick."""
        start = self.now_ns
        while (self.now_ns - start) * 1e-9 < seconds:
            self.tick()
            if condition():
                return (self.now_ns - start) * 1e-9
        raise AssertionError(f"not within {seconds} s, status {self.status}")

    def chunk(self, values, stamp_ns=None, **changes):
        """Chunk of (N, 8) for every arm, stamped now, with the next sequence."""
        self.sequence += 1
        values = np.asarray(values, dtype=float)
        policy = self.contract.task.policy
        fields = {
            "stamp_ns": self.now_ns if stamp_ns is None else stamp_ns,
            "frame_id": self.robot.base_frame,
            "components": tuple(f"{arm.name}/{part}" for arm in self.robot.arms for part in CARTESIAN_COMPONENTS),
            "values": np.concatenate([values] * len(self.robot.arms), axis=1),
            "time_from_start_s": (np.arange(len(values)) + policy.action_offset_steps) / policy.action_hz,
            "sequence": self.sequence,
            "epoch": self.status.epoch,
            "contract_crc": self.contract.crc,
        }
        return ActionChunk(**{**fields, **changes})

    def rows(self, offsets_m, gripper_m=0.08, origin=None):
        """(N, 8) rows: the present commanded pose moved by (N, 3) offsets."""
        pose = origin or self.pose
        offsets = np.atleast_2d(offsets_m)
        return np.concatenate(
            [pose.position_m + offsets, np.tile(pose.quat_xyzw, (len(offsets), 1)), np.full((len(offsets), 1), gripper_m)], axis=1
        )

    def offer(self, chunk):
        return self.executor.offer_chunk(chunk, self.now_ns)


def smooth(share):
    """Minimum-jerk course from 0 to 1."""
    u = np.clip(share, 0.0, 1.0)
    return 10.0 * u**3 - 15.0 * u**4 + 6.0 * u**5


@pytest.fixture(scope="session")
def contract():
    return load_contract("franka_pick_place")


@pytest.fixture(scope="session")
def urdf_text(contract):
    return (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")


@pytest.fixture
def bench(contract, urdf_text):
    made = Bench(contract, urdf_text)
    made.activate()
    return made


@pytest.fixture
def new_bench():
    return Bench


@pytest.fixture
def course():
    return smooth
