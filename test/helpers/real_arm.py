"""An executor that drives a real FR3, tick by tick, with a trajectory controller and an arm that does as the controller says."""

import numpy as np
from trajectory_controller import TrajectoryController

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.executor import ChunkExecutor

MS = 1_000_000


class RealArm:
    """Time goes on in milliseconds; the executor ticks every fourth unless it is ``stalled``. delay_ms: from sending to hearing a window;
    lose: whether the k-th window is lost. Every cycle of the controller is kept in ``desired``."""

    def __init__(self, delay_ms=1, lose=lambda k: False, overrides=()):
        self.contract = load_contract("franka_pick_place", "franka_fr3", list(overrides))
        self.robot = self.contract.robot
        self.limits = self.robot.arms[0].limits
        self.executor = ChunkExecutor(self.contract, (urdf_dir() / self.robot.urdf).read_text(encoding="utf-8"), hardware=True)
        self.now_ns = 10**12
        self.joints = self.robot.arms[0].home_rad.copy()
        self.controller = TrajectoryController(self.joints)
        self.delay_ms, self.lose = delay_ms, lose
        self.stalled = False
        self.talks = True
        self.opening_m = 0.08
        self.windows, self.desired, self.outputs = [], [], []
        self._on_the_way = []
        self._sequence = 0
        self.executor.controller.activity(True)

    @property
    def status(self):
        return self.executor.status

    @property
    def moving(self):
        return bool(np.any(self.desired[-1][1]) or np.any(self.desired[-1][2]))

    def listen(self):
        self.executor.controller.reference(self.controller.desired[0], self.now_ns)
        fingers = dict.fromkeys(self.robot.arms[0].gripper.joints, self.opening_m / 2)
        self.executor.measured(self.now_ns, dict(zip(self.robot.joint_names, self.joints.tolist(), strict=True)) | fingers)

    def activate(self):
        self.listen()
        self.executor.activate(self.now_ns)

    def run(self, seconds, each=None):
        for _ in range(round(seconds * 1000)):
            self.millisecond()
            if each is not None:
                each()

    def until(self, condition, seconds=2.0):
        """Seconds until the condition held."""
        for k in range(round(seconds * 1000)):
            self.millisecond()
            if condition():
                return (k + 1) * 1e-3
        raise AssertionError(f"not within {seconds} s; {self.status}")

    def millisecond(self):
        self.now_ns += MS
        for window in [w for due, w in self._on_the_way if due <= self.now_ns]:
            self.controller.take(window.stamps_ns, window.positions_rad, window.velocities_rad_s, window.accelerations_rad_s2)
        self._on_the_way = [entry for entry in self._on_the_way if entry[0] > self.now_ns]
        self.desired.append(self.controller.update(self.now_ns))
        self.joints = self.desired[-1][0]
        if self.talks and not self.stalled:
            self.listen()
        if not self.stalled and self.now_ns % (4 * MS) == 0:
            self._tick()

    def _tick(self):
        output = self.executor.tick(self.now_ns)
        self.outputs.append(output)
        if output.window is not None:
            self.windows.append((self.now_ns, output.window))
            if not self.lose(len(self.windows)):
                self._on_the_way.append((self.now_ns + self.delay_ms * MS, output.window))

    def chunk(self, sideways_m):
        """From the commanded pose, observed now."""
        pose = self.outputs[-1].poses["arm"]
        rows = [[pose.position_m[0], pose.position_m[1] + y, pose.position_m[2], *pose.quat_xyzw, 0.08] for y in sideways_m]
        self._sequence += 1
        policy = self.contract.task.policy
        return ActionChunk(
            stamp_ns=self.now_ns,
            frame_id=self.robot.base_frame,
            components=tuple(f"arm/{part}" for part in CARTESIAN_COMPONENTS),
            values=np.array(rows),
            time_from_start_s=(np.arange(len(rows)) + policy.action_offset_steps) / policy.action_hz,
            sequence=self._sequence,
            epoch=self.status.epoch,
            contract_crc=self.contract.crc,
        )

    def push(self, speed_m_s=0.2):
        """Set the arm in motion."""
        refusal = self.executor.offer_chunk(self.chunk(np.arange(1, 25) / 20 * speed_m_s), self.now_ns)
        assert refusal is None, refusal

    def move(self, speed_m_s=0.2):
        self.activate()
        self.run(0.2)
        self.push(speed_m_s)
        self.run(0.5)
        assert np.abs(self.desired[-1][1]).max() > 0.1

    def excess(self, since=0):
        """Largest share of the velocity, acceleration and jerk limits in the desired motion, whose positions must follow its velocities."""
        q, v, a = (np.array([state[i] for state in self.desired[since:]]) for i in range(3))
        np.testing.assert_allclose(np.diff(q, axis=0) / 1e-3, 0.5 * (v[1:] + v[:-1]), atol=2e-3)
        shares = {
            "velocity": np.abs(v) / self.limits.velocity_rad_s,
            "acceleration": np.abs(a) / self.limits.acceleration_rad_s2,
            "jerk": np.abs(np.diff(a, axis=0)) / 1e-3 / self.limits.jerk_rad_s3,
        }
        return {name: float(share.max()) for name, share in shares.items()}
