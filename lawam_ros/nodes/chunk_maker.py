"""From an aligned observation to a chunk: what the worker of the policy node does, and what it knows of its last chunk."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk, Observation, Subgoal
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.measured import robot_state
from lawam_ros.nodes.camera_input import CameraInputs
from lawam_ros.nodes.commanded_rows import CommandedRows
from lawam_ros.nodes.images import ImageMessage
from lawam_ros.nodes.replay_inputs import PlannedLook
from lawam_ros.nodes.status import ExecutorStatus
from lawam_ros.observe.alignment import Aligned
from lawam_ros.policies.committed import Committed, DelayEstimate, committed_of, delay_steps, runs
from lawam_ros.policies.interface import Inference, Policy, Reference, prefix_kind
from lawam_ros.policies.noise import noise_seed
from lawam_ros.policies.step_times import StepClock, StepTimes, quantiles

_REFERENCE_WAIT_S = 0.1
_READY_WAIT_S = 5.0


@dataclass(frozen=True)
class MakerSettings:
    """rtc: chunks continue the last one. seed: of the noise. added_delay_s: waited before each chunk is ready. stepped_latency_s: in lock
    step, from an observation to the use of its chunk, None in real time. stepped_timeout_s: longest wait for a commanded pose there."""

    rtc: bool
    seed: int
    added_delay_s: float
    stepped_latency_s: float | None
    stepped_timeout_s: float


@dataclass(frozen=True)
class Made:
    """A chunk that was published, the subgoal that came with it, milliseconds per stage of the model, and its times so far."""

    chunk: ActionChunk
    subgoal: Subgoal | None
    stage_ms: dict[str, float]
    clock: StepClock


class ChunkMaker:
    """One chunk after the other. ``make`` in the worker's thread, ``judged`` in any other. publish: sends a chunk; now_ns: ROS time."""

    def __init__(
        self,
        contract: Contract,
        policy: Policy,
        cameras: CameraInputs,
        commanded: CommandedRows,
        settings: MakerSettings,
        publish: Callable[[ActionChunk], None],
        now_ns: Callable[[], int],
    ) -> None:
        self._contract, self._policy, self._cameras, self._commanded = contract, policy, cameras, commanded
        self._settings, self._publish, self._now_ns = settings, publish, now_ns
        self._lock = threading.Lock()
        urdf = (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")
        self._chains = {arm.name: Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame) for arm in contract.robot.arms}
        self._delay = DelayEstimate()
        self._last: ActionChunk | None = None
        self._awaited: Made | None = None
        self._prefix = ""
        self._discarded = 0
        self._chunk_ms: deque[float] = deque(maxlen=500)
        self.sequence = 0
        self.missing = ""
        """Why the last ``make`` gave nothing."""
        self.steps = StepTimes()
        self.planned: Mapping[int, PlannedLook] = {}
        """In a replay: instant of an observation as published -> what is known of it; noise and recorded chunks go by the recorded one."""

    def report(self) -> dict[str, object]:
        """For /diagnostics: the delay a chunk is conditioned on, the kind of its prefix, and the steps from exposure to command."""
        delay_s = self._settings.stepped_latency_s if self._settings.stepped_latency_s is not None else self._delay.delay_s
        values: dict[str, object] = {"chunks": self.sequence, "prefix": self._prefix, "discarded": self._discarded}
        values |= {f"chunk_ms_{label}": ms for label, ms in quantiles(self._chunk_ms).items()}
        return values | ({} if delay_s is None else {"delay_ms": delay_s * 1e3}) | self.steps.report()

    def make(self, aligned: Aligned[ImageMessage], status: ExecutorStatus) -> Made | None:
        """Publishes a chunk of an observation; None where ``missing`` says why not. status: the executor's newest word.

        Raises BadImage for a picture that cannot be used, and whatever the model raises.
        """
        self.missing = ""
        clock = StepClock(aligned.stamp_ns)
        clock.done("arrival", self._cameras.arrival_ns(aligned.image_stamps_ns))
        clock.done("queue", self._now_ns())
        began_s = time.monotonic()
        observation = self._observation(aligned, status)
        clock.done("preparation", self._now_ns())
        committed = self._committed(aligned.stamp_ns, status)
        clock.done("reference", self._now_ns())
        planned = self.planned.get(aligned.stamp_ns)
        recorded_ns = aligned.stamp_ns if planned is None else planned.recorded_ns
        seed = noise_seed(self._settings.seed, recorded_ns)
        inference = self._policy.look(replace(observation, stamp_ns=recorded_ns), seed, committed)
        subgoal = None if inference.subgoal is None else replace(inference.subgoal, stamp_ns=observation.stamp_ns)
        self._chunk_ms.append((time.monotonic() - began_s) * 1e3)
        if self._settings.added_delay_s > 0.0 and self._settings.stepped_latency_s is None:
            time.sleep(self._settings.added_delay_s)
        if planned is not None:
            time.sleep(min(max(0.0, (planned.ready_ns - self._now_ns()) * 1e-9), _READY_WAIT_S))
        clock.done("model", self._now_ns())
        reference = committed.reference if committed is not None else self._reference_at(aligned.stamp_ns)
        clock.done("reference", self._now_ns())
        if reference is None:
            self.missing = "lawam/reference_pose: none at the observation's time"
            return None
        if self._too_late(inference, clock):
            return None
        self._prefix = prefix_kind(inference)
        made = Made(self._chunk(inference, reference, observation), subgoal, dict(inference.stage_ms), clock)
        with self._lock:  # the executor's answer may be here before this thread goes on
            self._publish(made.chunk)
            clock.done("publication", self._now_ns())
            self._last = made.chunk
            self._delay.add(self._expected_s(clock))
            self._awaited = made if self._settings.stepped_latency_s is None else None
        return made

    def judged(self, status: ExecutorStatus) -> None:
        """The executor said something: perhaps from which tick on it uses the last chunk."""
        with self._lock:
            made = self._awaited
            if made is None or (status.epoch, status.accepted_sequence) != (made.chunk.epoch, made.chunk.sequence):
                return
            self._awaited = None
            made.clock.done("first_command", status.stamp_ns)
            self._delay.correct(made.clock.total_ns * 1e-9)
            self.steps.add(made.clock)

    def _observation(self, aligned: Aligned[ImageMessage], status: ExecutorStatus) -> Observation:
        robot, now_ns = self._contract.robot, self._now_ns()
        images = {name: self._cameras[name].rgb(message, now_ns) for name, message in aligned.images.items()}
        tcp, gripper_m, joints_rad = robot_state(robot, self._chains, aligned.joints)
        return Observation(
            stamp_ns=aligned.stamp_ns,
            images=images,
            image_stamps_ns=aligned.image_stamps_ns,
            tcp=tcp,
            gripper_m=gripper_m,
            joints_rad=joints_rad,
            instruction=status.instruction,
            epoch=status.epoch,
        )

    def _committed(self, stamp_ns: int, status: ExecutorStatus) -> Committed | None:
        """What the last chunk commits to, as far as it runs."""
        latency_s = self._settings.stepped_latency_s
        last, delay_s = self._last, self._delay.delay_s if latency_s is None else latency_s
        if last is None or delay_s is None or not self._settings.rtc or not runs(last, status):
            return None
        reference = self._reference_at(stamp_ns)
        return None if reference is None else committed_of(last, stamp_ns, delay_s, self._contract.task.policy, reference)

    def _reference_at(self, stamp_ns: int) -> Reference | None:
        """Commanded rows at the observation's instant."""
        stepped = self._settings.stepped_latency_s is not None
        return self._commanded.at(stamp_ns, self._settings.stepped_timeout_s if stepped else _REFERENCE_WAIT_S, settled=stepped)

    def _too_late(self, inference: Inference, clock: StepClock) -> bool:
        """A chunk whose exact prefix ends before it could be used: the arm would leave it. The next one is conditioned on the new delay."""
        expected_s = self._expected_s(clock)
        consumed = delay_steps(expected_s, 1.0 / self._contract.task.policy.action_hz)
        if self._settings.stepped_latency_s is not None or not inference.exact_prefix or consumed <= inference.committed_steps:
            return False
        self._delay.add(expected_s)
        self._discarded += 1
        self.missing = f"chunk discarded: conditioned on {inference.committed_steps} steps of delay, {consumed} have passed"
        return True

    def _expected_s(self, clock: StepClock) -> float:
        """From the observation to the tick that will use a chunk that is ready now."""
        return clock.total_ns * 1e-9 + 1.0 / self._contract.robot.tick_hz

    def _chunk(self, inference: Inference, reference: Reference, observation: Observation) -> ActionChunk:
        targets = self._policy.place(inference, reference)
        self.sequence += 1
        return ActionChunk(
            stamp_ns=observation.stamp_ns,
            frame_id=self._contract.robot.base_frame,
            components=targets.components,
            values=targets.values,
            time_from_start_s=targets.time_from_start_s,
            sequence=self.sequence,
            epoch=observation.epoch,
            contract_crc=self._contract.crc,
            committed_steps=inference.committed_steps,
        )
