"""A robot without mass or delay around the executor, for measurements: it is always where the last command says."""

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import ActionChunk, Pose
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.contract.rotations import quat_from_rotvec, quat_multiply
from lawam_ros.control.executor import ChunkExecutor
from lawam_ros.control.tick_output import TickOutput

Array = NDArray[np.float64]

_START_NS = 1_000_000_000


class Rehearsal:
    """Executor, its chunks and its time. Call ``measure`` and ``tick`` every period; chunks in between."""

    def __init__(self, contract: Contract, urdf_text: str) -> None:
        """Activated at rest at the home joints, grippers open."""
        self.contract = contract
        self.executor = ChunkExecutor(contract, urdf_text)
        self.period_ns = contract.robot.tick_period_ns
        self.now_ns = _START_NS
        self._fingers = {
            joint: arm.gripper.opening_max_m / arm.gripper.opening_per_joint for arm in contract.robot.arms for joint in arm.gripper.joints
        }
        self._components = tuple(f"{arm.name}/{part}" for arm in contract.robot.arms for part in CARTESIAN_COMPONENTS)
        self._sequence = 0
        self.joints_rad: Array = np.concatenate([arm.home_rad for arm in contract.robot.arms])
        self.measure()
        self.executor.activate(self.now_ns)
        self.output = self.executor.tick(self.now_ns)

    def measure(self) -> None:
        """Tell the executor that the robot has reached the last command."""
        joints = dict(zip(self.contract.robot.joint_names, self.joints_rad.tolist(), strict=True))
        self.executor.measured(self.now_ns, joints | self._fingers)

    def tick(self) -> TickOutput:
        """The command of the present instant."""
        self.output = self.executor.tick(self.now_ns)
        if self.output.command is not None:
            self.joints_rad = self.output.command.positions_rad
        return self.output

    def step(self, periods: int = 1) -> TickOutput:
        """Some periods later: measure and tick."""
        self.now_ns += periods * self.period_ns
        self.measure()
        return self.tick()

    @property
    def poses(self) -> dict[str, Pose]:
        """Commanded TCP poses, arm by arm."""
        return self.output.poses

    def chunk(self, tables: dict[str, Array], stamp_ns: int) -> ActionChunk:
        """Chunk with the next sequence. tables: arm -> (N, 8) x y z qx qy qz qw gripper."""
        self._sequence += 1
        policy = self.contract.task.policy
        values = np.concatenate([tables[arm.name] for arm in self.contract.robot.arms], axis=1)
        return ActionChunk(
            stamp_ns=stamp_ns,
            frame_id=self.contract.robot.base_frame,
            components=self._components,
            values=values,
            time_from_start_s=(np.arange(len(values)) + policy.action_offset_steps) / policy.action_hz,
            sequence=self._sequence,
            epoch=self.executor.status.epoch,
            contract_crc=self.contract.crc,
        )

    def offer(self, chunk: ActionChunk) -> str | None:
        """None, or why the executor refused it."""
        return self.executor.offer_chunk(chunk, self.now_ns)


def minimum_jerk(share: Array) -> Array:
    """Smooth course from 0 to 1 while ``share`` goes from 0 to 1; 0 before and 1 after."""
    u = np.clip(share, 0.0, 1.0)
    return np.asarray(u**3 * (10.0 + u * (6.0 * u - 15.0)))


def reach_and_return(start: Pose, move_m: Array, turn_rad: Array, duration_s: float, times_s: Array) -> Array:
    """Table (N, 8) of a smooth way from ``start`` by ``move_m`` and ``turn_rad`` (rotation vector, fixed axes) and back, over and over.

    duration_s: of one way. The gripper stays open at 0.08 m.
    """
    phase = np.abs((times_s / duration_s + 1.0) % 2.0 - 1.0)
    shares = minimum_jerk(phase)[:, None]
    quats = quat_multiply(quat_from_rotvec(shares * turn_rad), np.broadcast_to(start.quat_xyzw, (len(times_s), 4)))
    return np.concatenate([start.position_m + shares * move_m, quats, np.full((len(times_s), 1), 0.08)], axis=1)
