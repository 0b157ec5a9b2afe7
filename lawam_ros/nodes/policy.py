"""Policy node: images and joint states in, action chunks and subgoals out.

Subscriptions only copy messages into buffers and ring for the worker, one thread that aligns, infers and publishes; the heartbeat has a
thread of its own, so that it tells whether the process lives, not whether an inference is quick.
"""

import queue
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.errors import EnvironmentLacks, LawamError, UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.recorded_topics import RUN_INFO_TOPIC
from lawam_ros.contract.records import ActionChunk, Subgoal
from lawam_ros.control.lock_step import FAILED, INFER, LookRule, PlannedLooks
from lawam_ros.control.stream_rate import StreamRate
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.camera_input import CameraInputs, in_words
from lawam_ros.nodes.chunk_maker import ChunkMaker, MakerSettings
from lawam_ros.nodes.commanded_rows import CommandedRows
from lawam_ros.nodes.images import ImageMessage, image_type
from lawam_ros.nodes.lock_step import LATENCY, LOCKSTEP, OBSERVED_TOPIC, STEP_TOPIC, TIMEOUT, step_from_message
from lawam_ros.nodes.managed import InputMissing, ManagedNode, run
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.priority import BEFORE_OTHERS, prefer
from lawam_ros.nodes.replay_inputs import LOOKS_TOPIC, REPLAY, PlannedLook, check_replay, commanded_topic, looks_from_message
from lawam_ros.nodes.run_info import run_info
from lawam_ros.nodes.status import ExecutorStatus, status_from_message
from lawam_ros.nodes.stepped_looks import SteppedLooks
from lawam_ros.observe.alignment import JOINT_STATES, Aligned, NotAligned, align
from lawam_ros.observe.image import BadImage
from lawam_ros.observe.timed_buffer import TimedBuffer
from lawam_ros.policies.choose import choose_policy
from lawam_ros.policies.provenance import checkpoint_hashes

CHECKPOINT = Parameter(
    "checkpoint",
    "",
    "Checkpoint folder, name of a shipped one, a server (ws://, http:// or tcp://host:port), or recorded:<dataset>#<episode>; empty takes "
    "the task's.",
)
DEVICE = Parameter("device", "auto", "Device of the model: auto, cpu or cuda.")
PRECISION = Parameter(
    "precision", "auto", "Number format: float32, bfloat16 as the released server, bfloat16_head; auto is bfloat16 on cuda, float32 on cpu."
)
RTC = Parameter("rtc", True, "Real-time chunking: a chunk continues what will have been executed of the last one by the time it is ready.")
SEED = Parameter("seed", 0, "Seed of the noise; the same seed and stamps give the same chunks.", low=0, high=2**31 - 1)
THREADS = Parameter("torch_threads", 1, "CPU threads of the model; leave cores to the executor.", low=1, high=64)
ADDED_DELAY = Parameter("added_delay_s", 0.0, "Wait before each chunk is published, to try slow policies.", low=0.0, high=30.0)
TABLE = (CHECKPOINT, DEVICE, PRECISION, RTC, SEED, THREADS, ADDED_DELAY, LOCKSTEP, LATENCY, TIMEOUT, REPLAY)

_HEARTBEAT_S = 0.05
_LOOK_S = 0.01
_PATIENCE_S = 3.0
_MAX_FAILURES = 5


class PolicyNode(ManagedNode):
    """Observation in, chunk out, as often as the task's replan period and the model allow."""

    def __init__(self) -> None:
        super().__init__("policy", TABLE)
        self._status: ExecutorStatus | None = None
        self._running = threading.Event()
        self._threads: list[threading.Thread] = []
        self._news = threading.Event()
        self._maker: ChunkMaker | None = None
        self._stage_ms: dict[str, float] = {}
        self._rates = {name: StreamRate() for name in ("joint_states", "reference", "status")}
        self._waiting_for = ""
        self._waiting_since_s: float | None = None
        self._failures = 0
        self._not_aligned = 0
        self._cameras: CameraInputs | None = None
        self._troubled: list[list[str]] = [[], []]
        self._planned: dict[int, PlannedLook] | None = None

    def setup(self) -> None:
        contract = self._contract = self.contract()
        robot, task = contract.robot, contract.task
        checkpoint = str(self.get_parameter("checkpoint").value) or task.checkpoint
        self._policy = choose_policy(checkpoint, contract, self._device(), str(self.get_parameter("precision").value))
        self._policy.warm_up()
        names = task.policy.primary_cameras + task.policy.wrist_cameras
        self._lockstep = bool(self.get_parameter("lockstep").value)
        self._cameras = CameraInputs(robot, names, self._lockstep)
        self._images = self._cameras.buffers
        self._topics = {f"camera {name}": self.resolve_topic_name(robot.camera(name).topic) for name in names}
        self._topics[JOINT_STATES] = self.resolve_topic_name(robot.joint_states_topic)
        self._joint_names = robot.joint_names + tuple(joint for arm in robot.arms for joint in arm.gripper.joints)
        self._joints: TimedBuffer[Mapping[str, float]] = TimedBuffer(400)
        self._commanded = CommandedRows(robot)
        self._looks: SteppedLooks | None = None
        self._to_look: queue.SimpleQueue[tuple[int, Aligned[ImageMessage], ExecutorStatus]] = queue.SimpleQueue()
        self._chunks = self.create_publisher(JointTrajectory, "lawam/action_chunk", qos.CHUNK)
        self._heartbeat = self.create_publisher(Header, "lawam/heartbeat", qos.BEAT)
        self._maker = self._new_maker(contract, self._cameras)
        self._current = self.create_publisher(Image, "lawam/subgoal/current", qos.IMAGE_OUT)
        self._predicted = self.create_publisher(Image, "lawam/subgoal/predicted", qos.IMAGE_OUT)
        subscribe = self.create_subscription
        subscribe(JointState, robot.joint_states_topic, self._on_joint_states, qos.STEPPED if self._lockstep else qos.SENSOR)
        subscribe(DiagnosticArray, "lawam/status", self._on_status, qos.STEPPED_STATUS if self._lockstep else qos.LATCHED)
        replay = self._replay = check_replay(str(self.get_parameter("replay").value))
        commands_qos = qos.RECORDED if replay else qos.STEPPED_REFERENCE if self._lockstep else qos.REFERENCE
        subscribe(JointTrajectory, commanded_topic("lawam/reference", replay), self._on_reference, commands_qos)
        for name in names:
            camera, profile = robot.camera(name), qos.STEPPED if self._lockstep else qos.IMAGE_IN
            subscribe(image_type(camera), camera.topic, self._image_callback(name), profile)
        for arm in robot.arms:
            topic = commanded_topic(f"lawam/reference_pose/{arm.name}", replay)
            subscribe(PoseStamped, topic, self._commanded.pose_callback(arm.name), commands_qos)
        latency_ns, period_ns = (
            round(s * 1e9) for s in (float(self.get_parameter("lockstep_latency_s").value), task.policy.replan_period_s)
        )
        self._rule = PlannedLooks(LookRule(latency_ns, period_ns))
        if replay:
            subscribe(String, LOOKS_TOPIC, self._on_planned_looks, qos.LATCHED)
        if self._lockstep:
            primary = self._topics[f"camera {task.policy.primary_cameras[0]}"]
            self._looks = SteppedLooks(primary, self._topics.values(), self._rule)
            self._observed = self.create_publisher(Header, OBSERVED_TOPIC, qos.STEPPED)
            subscribe(DiagnosticArray, STEP_TOPIC, self._on_step, qos.STEPPED)
        self._tell_what_runs(checkpoint)
        self.get_logger().info(f"policy ready: {self._policy.description}")

    def _tell_what_runs(self, checkpoint: str) -> None:
        names = ("device", "precision", "rtc", "seed", "added_delay_s", "lockstep", "lockstep_latency_s")
        settings = {"checkpoint": checkpoint} | {name: self.get_parameter(name).value for name in names}
        overrides = str(self.get_parameter("overrides").value)
        info = run_info(self._contract, overrides, settings, checkpoint_hashes(checkpoint))
        self.create_publisher(String, RUN_INFO_TOPIC, qos.LATCHED).publish(String(data=info))

    def _new_maker(self, contract: Contract, cameras: CameraInputs) -> ChunkMaker:
        settings = MakerSettings(
            rtc=bool(self.get_parameter("rtc").value),
            seed=int(self.get_parameter("seed").value),
            added_delay_s=float(self.get_parameter("added_delay_s").value),
            stepped_latency_s=float(self.get_parameter("lockstep_latency_s").value) if self._lockstep else None,
            stepped_timeout_s=float(self.get_parameter("lockstep_timeout_s").value),
        )
        return ChunkMaker(contract, self._policy, cameras, self._commanded, settings, self._publish_chunk, self._now_ns)

    def start(self) -> None:
        if self._replay and self._planned is None:
            raise InputMissing(f"{LOOKS_TOPIC}: the player is not there yet")
        sys.setswitchinterval(0.0005)  # the worker must not wait 5 ms for the thread that hears messages, nor the heartbeat for either
        self._running.set()
        self._threads = [
            threading.Thread(target=loop, name=name, daemon=True)
            for name, loop in (("heartbeat", self._beat), ("worker", self._work_stepped if self._lockstep else self._work))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._running.clear()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def teardown(self) -> None:
        self._policy = None  # type: ignore[assignment]

    def report(self) -> tuple[str, dict[str, object]]:
        values: dict[str, object] = {"waiting_for": self._waiting_for, "failures": self._failures}
        values["not_aligned"] = self._not_aligned
        values["refused_image"] = in_words(self._cameras.refusals()) if self._cameras else ""
        for name, rate in self._rates.items():
            values |= rate.report(name, self._now_ns())
        values |= self._cameras.report(self._now_ns()) if self._cameras else {}
        values |= self._maker.report() if self._maker else {}
        values |= {f"stage_ms_{name}": float(ms) for name, ms in self._stage_ms.items()}
        problem = "" if self._status is not None else "no lawam/status yet: is the chunk executor running?"
        return problem or in_words(self._camera_troubles()) or self._waiting_for, values

    def warning(self) -> str:
        return in_words(self._cameras.warnings()) if self._cameras else ""

    def _camera_troubles(self) -> dict[str, str]:
        return self._cameras.troubles(self._now_ns()) if self._cameras else {}

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _tell_troubles(self) -> None:
        """A camera's trouble is published as it comes and goes, not at the next turn of the diagnostics."""
        troubled = [list(self._camera_troubles()), list(self._cameras.warnings() if self._cameras else ())]
        if troubled != self._troubled:
            self._troubled = troubled
            self._publish_diagnostics()

    def _device(self) -> str:
        import torch

        torch.set_num_threads(int(self.get_parameter("torch_threads").value))
        wanted = str(self.get_parameter("device").value)
        if wanted not in ("auto", "cpu", "cuda"):
            raise UserMistake(f"parameter device: expected auto, cpu or cuda, got {wanted!r}")
        if wanted == "cuda" and not torch.cuda.is_available():
            raise EnvironmentLacks("parameter device: cuda was asked for, torch sees none; use device:=cpu or install torch with CUDA")
        return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted

    def _image_callback(self, name: str) -> Any:
        assert self._cameras is not None
        camera, topic = self._cameras[name], self._topics[f"camera {name}"]

        def on_image(message: ImageMessage) -> None:
            joints = self._joints.newest()
            camera.arrived(message, self._now_ns(), None if joints is None else joints.value)
            self._news.set()
            self._stepped_arrival(topic, messages.nanoseconds(message.header.stamp))

        return on_image

    def _on_joint_states(self, message: JointState) -> None:
        self._rates["joint_states"].heard(self._now_ns())
        try:
            self._joints.push(messages.nanoseconds(message.header.stamp), messages.joint_positions(message))
        except messages.BadMessage as error:
            self.get_logger().warning(f"joint_states dropped: {error}", throttle_duration_sec=1.0)
        self._stepped_arrival(self._topics[JOINT_STATES], messages.nanoseconds(message.header.stamp))

    def _on_reference(self, message: JointTrajectory) -> None:
        try:
            command = messages.command_from_message(message, self._contract.robot)
        except messages.BadMessage as error:
            self.get_logger().warning(f"lawam/reference dropped: {error}", throttle_duration_sec=1.0)
            return
        self._rates["reference"].heard(self._now_ns())
        self._commanded.command(command)

    def _on_planned_looks(self, message: String) -> None:
        """The observations that the recorded policy looked at, and no others."""
        try:
            looks = looks_from_message(message)
        except messages.BadMessage as error:
            self.get_logger().warning(f"{LOOKS_TOPIC} dropped: {error}")
            return
        self._rule.frames = frozenset(look.frame_ns for look in looks)
        self._planned = {look.observation_ns: look for look in looks}
        if self._maker is not None:
            self._maker.planned = self._planned

    def _on_status(self, message: DiagnosticArray) -> None:
        try:
            self._status = status_from_message(message)
        except messages.BadMessage as error:
            self.get_logger().warning(f"lawam/status dropped: {error}", throttle_duration_sec=1.0)
            return
        self._rates["status"].heard(self._now_ns())
        if self._maker is not None:
            self._maker.judged(self._status)
        self._news.set()
        if self._looks is not None:
            self._looks.status(self._status)
            self._decide(self._looks)

    def _on_step(self, message: DiagnosticArray) -> None:
        assert self._looks is not None
        try:
            self._looks.step(*step_from_message(message))
        except messages.BadMessage as error:
            self.get_logger().warning(f"{STEP_TOPIC} dropped: {error}", throttle_duration_sec=1.0)
        self._decide(self._looks)

    def _stepped_arrival(self, topic: str, stamp_ns: int) -> None:
        if self._looks is None:
            return
        again = self._looks.arrived(topic, stamp_ns)
        if again is not None:
            self._observed.publish(messages.header(stamp_ns, again))
        self._decide(self._looks)

    def _decide(self, looks: SteppedLooks) -> None:
        """In the thread of the subscriptions: the answer must not wait for an inference, nor the observation for what comes later."""
        while (decision := looks.decided(lambda frame_ns: self._completed_by(frame_ns) is not None)) is not None:
            stamp_ns, verdict, status = decision
            aligned = self._completed_by(stamp_ns)
            if verdict == INFER and aligned is not None:
                self._to_look.put((stamp_ns, aligned, status))
            self._observed.publish(messages.header(stamp_ns, verdict))

    def _completed_by(self, frame_ns: int) -> Aligned[ImageMessage] | None:
        """The observation that a primary frame completes; None while a stream is missing or a camera has shown nothing since the last one.

        In real time one makes do with an older image; here the owner of time must know of which instant the chunk will be.
        """
        aligned = align(self._images, self._joints, frame_ns, self._contract.robot.budgets)
        before = self._images[self._contract.task.policy.primary_cameras[0]].newest_until(frame_ns - 1)
        if isinstance(aligned, NotAligned):
            self.get_logger().warning(f"no observation at a frame: {aligned.stream}: {aligned.reason}", throttle_duration_sec=1.0)
            return None
        return aligned if before is None or before.stamp_ns < aligned.stamp_ns <= frame_ns else None

    def _beat(self) -> None:
        while self._running.is_set():
            self._heartbeat.publish(messages.header(self._now_ns()))
            time.sleep(_HEARTBEAT_S)

    def _work(self) -> None:
        last_look_ns = 0
        period_ns = round(self._contract.task.policy.replan_period_s * 1e9)
        while self._running.is_set():
            self._news.wait(_LOOK_S)  # not longer: silence of a camera must be told, too
            self._news.clear()
            self._tell_troubles()
            status = self._status
            if status is None or not status.wants_chunks:
                continue
            aligned = align(self._images, self._joints, self._now_ns(), self._contract.robot.budgets)
            if isinstance(aligned, NotAligned):
                self._not_aligned += 1
                dropped = self.warning()
                text = f"{aligned.stream} (topic {self._topics[aligned.stream]}): {aligned.reason}"
                self._wait(f"{text} ({dropped})" if dropped else text)
                continue
            absent = [name for name in self._joint_names if name not in aligned.joints]
            if absent:
                self._wait(f"{JOINT_STATES} (topic {self._topics[JOINT_STATES]}): without {', '.join(absent)}")
                continue
            self._waiting_for, self._waiting_since_s = "", None
            if self._planned and aligned.stamp_ns not in self._planned:
                continue
            if not due(aligned.stamp_ns, last_look_ns, 1 if self._planned else period_ns, status.epoch_stamp_ns):
                continue
            last_look_ns = aligned.stamp_ns
            self._one_chunk(aligned, status)

    def _work_stepped(self) -> None:
        while self._running.is_set():
            try:
                stamp_ns, aligned, status = self._to_look.get(timeout=0.1)
            except queue.Empty:
                continue
            if not self._one_chunk(aligned, status):
                self._observed.publish(messages.header(stamp_ns, FAILED))

    def _wait(self, reason: str) -> None:
        """No observation this time; what lasts is said aloud, for nobody reads diagnostics before something is wrong."""
        self._waiting_for = reason
        now_s = time.monotonic()
        self._waiting_since_s = self._waiting_since_s or now_s
        if now_s - self._waiting_since_s > _PATIENCE_S:
            text = f"no observation for {now_s - self._waiting_since_s:.0f} s, waiting for {reason}; check the driver and the remapping"
            self.get_logger().error(text, throttle_duration_sec=10.0)

    def _one_chunk(self, aligned: Aligned[ImageMessage], status: ExecutorStatus) -> bool:
        """Whether a chunk was published."""
        assert self._maker is not None
        try:
            made = self._maker.make(aligned, status)
            self._failures = 0
            self._waiting_for = self._maker.missing
            if made is None:
                return False
            self._stage_ms = made.stage_ms
            if made.subgoal is not None:
                self._publish_subgoal(made.subgoal)
            return True
        except BadImage as error:
            self.get_logger().error(f"image refused: {error}", throttle_duration_sec=2.0)
        except Exception as error:  # the executor holds without chunks; the worker tries again, more slowly each time, and then gives up
            self._failures += 1
            self.get_logger().error(f"inference failed ({self._failures} in a row): {type(error).__name__}: {error}")
            if self._failures >= _MAX_FAILURES:
                self.exit_code = LawamError.exit_code
                self.finished.set()
            time.sleep(min(2.0, 0.1 * 2**self._failures))
        return False

    def _publish_chunk(self, chunk: ActionChunk) -> None:
        self._chunks.publish(messages.chunk_to_message(chunk))

    def _publish_subgoal(self, subgoal: Subgoal) -> None:
        for publisher, features in ((self._current, subgoal.current), (self._predicted, subgoal.predicted)):
            if publisher.get_subscription_count() > 0:
                publisher.publish(messages.features_to_message(features, subgoal.stamp_ns, subgoal.camera))


def due(stamp_ns: int, last_look_ns: int, period_ns: int, epoch_stamp_ns: int) -> bool:
    """Whether to look at an observation: from this epoch, and a replan period after the last look (or before it: the clock went back)."""
    return stamp_ns > epoch_stamp_ns and (stamp_ns >= last_look_ns + period_ns or stamp_ns < last_look_ns)


def main() -> int:
    prefer(BEFORE_OTHERS)
    return run(PolicyNode)


if __name__ == "__main__":
    sys.exit(main())
