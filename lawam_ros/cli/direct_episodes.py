"""Episodes without ROS: world, pure executor and policy in one process, in stepped time.

The same times as the graph keeps in lock step, so that the same seed gives the same commands, bit for bit (a test compares them).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lawam_ros.cli.episodes import EpisodeResult
from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk, Observation
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.control.lock_step import LookRule
from lawam_ros.control.measured import robot_state
from lawam_ros.policies.interface import Policy
from lawam_ros.policies.noise import noise_seed
from lawam_ros.sim.cameras import CameraRig
from lawam_ros.sim.episode_end import EpisodeEnd
from lawam_ros.sim.scenes import scene_of
from lawam_ros.sim.stepped_loop import SteppedLoop
from lawam_ros.sim.stepped_streams import EPISODE_NS, SteppedStreams
from lawam_ros.sim.world import World

JOINT_STATES_HZ = 125.0


@dataclass
class DirectMeasurements:
    """chunk_ms: wall time of each inference. uses: stamps of observations and of the tick that used their chunk."""

    chunk_ms: list[float] = field(default_factory=list)
    uses: list[tuple[int, int]] = field(default_factory=list)
    commands: int = 0
    violations: int = 0


class DirectRunner:
    """One world with cameras, one policy. run_seed: of the policy's noise, as the graph's launch argument ``seed``."""

    def __init__(self, contract: Contract, policy: Policy, latency_s: float, run_seed: int) -> None:
        self._contract, self._policy = contract, policy
        self._latency_ns, self._run_seed = round(latency_s * 1e9), run_seed
        self._world = World(contract)
        self._scene = scene_of(contract)
        self._rig = CameraRig(self._world.model, contract.robot.cameras)
        urdf = (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")
        self._chains = {arm.name: Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame) for arm in contract.robot.arms}
        self.measured = DirectMeasurements()
        self.frame: NDArray[np.uint8] | None = None

    def episode(self, seed: int, on_frame: Callable[[float], None] = lambda _: None) -> EpisodeResult:
        """One attempt. on_frame: called with the simulated time after every picture, which is then in ``frame``."""
        world, task = self._world, self._contract.task
        world.reset(seed)
        measure, end = self._scene.measure(world.parameters), EpisodeEnd(task.episode)
        streams = SteppedStreams(self._contract.robot, JOINT_STATES_HZ, lambda topic: topic)
        streams.begin(seed * EPISODE_NS)
        loop = SteppedLoop(self._contract, world, streams.now_ns)
        rule = LookRule(self._latency_ns, round(task.policy.replan_period_s * 1e9))
        checker = LimitChecker(stacked_limits([arm.limits for arm in self._contract.robot.arms]))
        joints: Mapping[str, float] = {}
        held: list[ActionChunk] = []
        reason = ""
        while not (reason := reason or end.reason):
            due = streams.due()
            if due.joints:
                joints = world.joint_positions()
            if held and held[0].stamp_ns + self._latency_ns <= loop.now_ns:
                chunk = held.pop(0)
                if loop.offer(chunk) is None:
                    self.measured.uses.append((chunk.stamp_ns, loop.now_ns))
            command = loop.tick().command
            if due.pictures:
                pictures = self._rig.pictures(world.snapshot())
                self.frame = pictures[task.policy.primary_cameras[0]]
                on_frame(world.time_s)
                status = loop.status
                if rule.looks(loop.now_ns, status.state in ("RUN", "HOLD"), status.epoch_stamp_ns):
                    held.append(self._chunk(loop, pictures, joints))
            if command is not None:
                checker.add(command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2)
                self.measured.commands += 1
            now_ns = loop.now_ns
            loop.advance()
            streams.advance(said=False)
            measure.update(world.state())
            end.update(now_ns, loop.command, measure.result().success)
            if loop.status.state == "LATCHED":
                reason = loop.status.reason
        self.measured.violations += checker.violations
        result = measure.result()
        return EpisodeResult(
            seed=seed,
            success=reason == "success",
            reason=reason,
            time_s=round(world.time_s, 2),
            final_error_m=result.final_error_m,
            min_tcp_object_distance_m=result.min_tcp_object_distance_m,
            stages=dict(result.stages),
            command_hash=end.command_hash,
        )

    def close(self) -> None:
        self._rig.close()

    def _chunk(self, loop: SteppedLoop, pictures: Mapping[str, NDArray[np.uint8]], joints: Mapping[str, float]) -> ActionChunk:
        robot, policy = self._contract.robot, self._contract.task.policy
        names = policy.primary_cameras + policy.wrist_cameras
        tcp, gripper_m, joints_rad = robot_state(robot, self._chains, joints)
        status = loop.status
        observation = Observation(
            stamp_ns=loop.now_ns,
            images={name: pictures[name] for name in names},
            image_stamps_ns=dict.fromkeys(names, loop.now_ns),
            tcp=tcp,
            gripper_m=gripper_m,
            joints_rad=joints_rad,
            instruction=status.instruction,
            epoch=status.epoch,
        )
        started = time.perf_counter()
        inference = self._policy.look(observation, noise_seed(self._run_seed, loop.now_ns))
        self.measured.chunk_ms.append((time.perf_counter() - started) * 1e3)
        commanded = loop.commanded_tcp
        row = np.concatenate([commanded.position_m, commanded.quat_xyzw, [loop.commanded_gripper_m]])
        targets = self._policy.place(inference, {robot.arms[0].name: row})
        return ActionChunk(
            stamp_ns=loop.now_ns,
            frame_id=robot.base_frame,
            components=targets.components,
            values=targets.values,
            # Whole nanoseconds, as messages carry them.
            time_from_start_s=np.array([round(float(t) * 1e9) * 1e-9 for t in targets.time_from_start_s]),
            sequence=len(self.measured.chunk_ms),
            epoch=status.epoch,
            contract_crc=self._contract.crc,
        )
