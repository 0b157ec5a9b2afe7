"""Episodes without ROS: world, pure executor and policy in one process, in stepped time.

The same times as the graph keeps in lock step, so that the same seed gives the same commands, bit for bit (a test compares them).
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import mujoco
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
from lawam_ros.control.tick_output import Status
from lawam_ros.data.action_space import absolute_row
from lawam_ros.observe.image import rotate
from lawam_ros.policies.committed import Committed, committed_of, runs
from lawam_ros.policies.interface import Policy, Reference, prefix_kind
from lawam_ros.policies.noise import noise_seed
from lawam_ros.sim.cameras import CameraRig
from lawam_ros.sim.episode_end import EpisodeEnd
from lawam_ros.sim.scenes import scene_of
from lawam_ros.sim.stepped_loop import SteppedLoop
from lawam_ros.sim.stepped_streams import EPISODE_NS, SteppedStreams
from lawam_ros.sim.world import World

JOINT_STATES_HZ = 125.0
OnFrame = Callable[[NDArray[np.uint8]], None]


@dataclass
class DirectMeasurements:
    """chunk_ms: wall time of each inference. uses: stamps of observations and of the tick that used their chunk. path_m: commanded TCPs
    (arms, 3) of every tick. held_ticks: in HOLD. prefixes: kinds of prefix the chunks were conditioned on, and how often."""

    chunk_ms: list[float] = field(default_factory=list)
    uses: list[tuple[int, int]] = field(default_factory=list)
    path_m: list[NDArray[np.float64]] = field(default_factory=list)
    commands: int = 0
    held_ticks: int = 0
    violations: int = 0
    prefixes: Counter[str] = field(default_factory=Counter)


class PolicyInTheLoop:
    """A policy that drives worlds of one contract through the pure executor, with a modelled latency.

    run_seed: of its noise, as the graph's launch argument ``seed``. rtc: chunks continue the last one. measured is filled as it goes.
    """

    def __init__(
        self, contract: Contract, policy: Policy, model: mujoco.MjModel, latency_s: float, run_seed: int, rtc: bool = True
    ) -> None:
        self._contract, self._policy, self._rtc = contract, policy, rtc
        self._latency_ns, self._run_seed = round(latency_s * 1e9), run_seed
        self._rig = CameraRig(model, contract.robot.cameras)
        urdf = (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")
        self._chains = {arm.name: Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame) for arm in contract.robot.arms}
        self.measured = DirectMeasurements()

    def begin(self, loop: SteppedLoop, streams: SteppedStreams) -> None:
        """A new episode, about to make its first period."""
        self._loop, self._streams = loop, streams
        self._rule = LookRule(self._latency_ns, round(self._contract.task.policy.replan_period_s * 1e9))
        self._joints: Mapping[str, float] = {}
        self._held: list[ActionChunk] = []
        self._last: ActionChunk | None = None

    def period(self, on_frame: OnFrame | None = None) -> None:
        """One period: chunks that are due, the executor's command, a look where one is due, physics.

        on_frame: gets every picture of the primary camera; without it only those that the policy looks at are drawn.
        """
        loop, world = self._loop, self._loop.world
        due = self._streams.due()
        if due.joints:
            self._joints = world.joint_positions()
        if self._held and self._held[0].stamp_ns + self._latency_ns <= loop.now_ns:
            chunk = self._held.pop(0)
            if loop.offer(chunk) is None:
                self.measured.uses.append((chunk.stamp_ns, loop.now_ns))
        loop.tick()
        status = loop.status
        looks = due.pictures and self._rule.looks(loop.now_ns, status.state in ("RUN", "HOLD"), status.epoch_stamp_ns)
        if looks or (due.pictures and on_frame is not None):
            pictures = self._draw()
            if on_frame is not None:
                on_frame(pictures[self._contract.task.policy.primary_cameras[0]])
            if looks:
                self._held.append(self._chunk(pictures))
        self.measured.commands += 1
        self.measured.held_ticks += loop.status.state == "HOLD"
        self.measured.path_m.append(np.array([pose.position_m for pose in loop.commanded.values()]))
        loop.advance()
        self._streams.advance(said=False)

    def last_picture(self) -> NDArray[np.uint8]:
        """The primary camera's picture of this instant."""
        return self._draw()[self._contract.task.policy.primary_cameras[0]]

    def close(self) -> None:
        self._rig.close()

    def _draw(self) -> dict[str, NDArray[np.uint8]]:
        mounted = self._rig.pictures(self._loop.world.snapshot())
        return {camera.name: rotate(mounted[camera.name], camera.rotate_deg) for camera in self._contract.robot.cameras}

    def _chunk(self, pictures: Mapping[str, NDArray[np.uint8]]) -> ActionChunk:
        robot, policy, loop = self._contract.robot, self._contract.task.policy, self._loop
        names = policy.primary_cameras + policy.wrist_cameras
        tcp, gripper_m, joints_rad = robot_state(robot, self._chains, self._joints)
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
        openings = loop.command.gripper_m
        reference = {name: absolute_row(tcp, openings[name]) for name, tcp in loop.commanded.items()}
        inference = self._policy.look(observation, noise_seed(self._run_seed, loop.now_ns), self._committed(status, reference))
        self.measured.chunk_ms.append((time.perf_counter() - started) * 1e3)
        self.measured.prefixes[prefix_kind(inference)] += 1
        targets = self._policy.place(inference, reference)
        self._last = ActionChunk(
            stamp_ns=loop.now_ns,
            frame_id=robot.base_frame,
            components=targets.components,
            values=targets.values,
            # Whole nanoseconds, as messages carry them.
            time_from_start_s=np.array([round(float(t) * 1e9) * 1e-9 for t in targets.time_from_start_s]),
            sequence=loop.sequence + len(self._held),
            epoch=status.epoch,
            contract_crc=self._contract.crc,
            committed_steps=inference.committed_steps,
        )
        return self._last

    def _committed(self, status: Status, reference: Reference) -> Committed | None:
        last = self._last
        if last is None or not self._rtc or not runs(last, status):
            return None
        return committed_of(last, self._loop.now_ns, self._latency_ns * 1e-9, self._contract.task.policy, reference)


class DirectRunner:
    """One world and one policy, episode after episode."""

    def __init__(self, contract: Contract, policy: Policy, latency_s: float, run_seed: int, rtc: bool = True) -> None:
        self._contract = contract
        self._world = World(contract)
        self._scene = scene_of(contract)
        self.policy = PolicyInTheLoop(contract, policy, self._world.model, latency_s, run_seed, rtc)

    def episode(self, seed: int, on_frame: OnFrame | None = None) -> EpisodeResult:
        """One attempt. on_frame: gets every picture of the primary camera."""
        world, contract, driver = self._world, self._contract, self.policy
        world.reset(seed)
        measure, end = self._scene.measure(world.parameters), EpisodeEnd(contract.task.episode)
        streams = SteppedStreams(contract.robot, JOINT_STATES_HZ, lambda topic: topic)
        streams.begin(seed * EPISODE_NS)
        loop = SteppedLoop(contract, world, streams.now_ns)
        driver.begin(loop, streams)
        checker = LimitChecker(stacked_limits([arm.limits for arm in contract.robot.arms]))
        reason = ""
        while not (reason := reason or end.reason):
            now_ns = loop.now_ns
            driver.period(on_frame)
            command = loop.command
            checker.add(command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2)
            measure.update(world.state())
            end.update(now_ns, command, measure.result().success)
            if loop.status.state == "LATCHED":
                reason = loop.status.reason
        driver.measured.violations += checker.violations
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
