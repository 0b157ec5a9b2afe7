"""Player node: stands where robot and operator stood when a run was recorded, and holds what the nodes make of it against the recording.

It publishes on the input topics of the policy and on ``replay/...`` only, and drives the chunk executor through its services.
"""

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, EnvironmentLacks, LawamError, UserMistake
from lawam_ros.contract.records import ActionChunk, JointCommand
from lawam_ros.data import cdr_stamp
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_streams import BagStreams, bag_streams
from lawam_ros.data.recorded_run import JOINT_STATES, RecordedRun, read_run
from lawam_ros.data.replay_comparison import Comparison, Halt, Replayed, Tolerances, compare, used_apart_ns, weights_row
from lawam_ros.data.replay_plan import (
    ESTOP,
    INSTRUCTION,
    RESET,
    Episode,
    Look,
    OperatorEvent,
    episodes_of,
    first_uses,
    gaps_of,
    holds_of,
    looks_of,
    stops_of,
)
from lawam_ros.data.replay_report import ReplayReport, recorded_results
from lawam_ros.data.replay_timeline import POSE, REFERENCE, TimedMessage, Timeline, newest_of
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.asked import Asked
from lawam_ros.nodes.executor_client import ExecutorClient
from lawam_ros.nodes.images import image_type
from lawam_ros.nodes.inputs_node import inputs_node
from lawam_ros.nodes.lock_step import LATENCY, LOCKSTEP, TIMEOUT
from lawam_ros.nodes.managed import ManagedNode, run
from lawam_ros.nodes.message_executor import MessageExecutor
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.playback import Playback, SteppedPlayback, WallPlayback
from lawam_ros.nodes.priority import PHYSICS, lock_memory, raise_priority
from lawam_ros.nodes.replay_inputs import CLOSED, LOOKS_TOPIC, REFERENCE_TOPIC, REPLAY, PlannedLook, looks_to_message
from lawam_ros.nodes.replay_record import ReplayRecord
from lawam_ros.nodes.status import ExecutorStatus
from lawam_ros.nodes.time_owner import TimeOwner

BAG = Parameter("bag", "", "The recording: a folder of rosbag2, or one of its files.")
AGAINST = Parameter("against", "", "Another recording to compare with; empty takes the one that is played.")
REMAP = Parameter("remap", "", "Topics of the bag under other names than the robot file's: THEIRS:=OURS, separated by semicolons.")
REPORT = Parameter("report", "", "File for the report, as JSON.")
RATE = Parameter("rate", 1.0, "Speed in real time, as a multiple of the recorded one.", low=0.01, high=100.0)
THROTTLE = Parameter("throttle", 1.0, "In lock step, the share of the possible speed at which time passes.", low=0.01, high=1.0)
SAME_WEIGHTS = Parameter("same_weights", False, "Other weights than the recorded ones are a regression.")
TOLERANCE_M = Parameter("tolerance_m", 1e-4, "Largest deviation of a target in a chunk; ten times that of an opening.", low=0.0, high=10.0)
TOLERANCE_RAD = Parameter("tolerance_rad", 1e-3, "Largest deviation of an orientation in a chunk.", low=0.0, high=10.0)
COMMAND_RAD = Parameter("tolerance_command_rad", 1e-3, "Largest deviation of a commanded joint.", low=0.0, high=10.0)
TABLE = (
    BAG, AGAINST, REMAP, REPORT, RATE, THROTTLE, SAME_WEIGHTS, TOLERANCE_M, TOLERANCE_RAD, COMMAND_RAD, REPLAY, LOCKSTEP, LATENCY, TIMEOUT,
)  # fmt: skip

_UP_S = 90.0
_HEARD_S = 3.0
_OPERATED_S = 5.0


class PlayerNode(ManagedNode):
    """One bag from its beginning to its end, then the report; the exit code says whether it is a regression."""

    def __init__(self) -> None:
        super().__init__("player", TABLE)
        self._running = threading.Event()
        self._thread: threading.Thread | None = None
        self._bag: Bag | None = None
        self._commands: list[list[JointCommand]] = []
        self._holds: list[Halt] = []
        self._stops: list[Halt] = []
        self._uses: dict[int, int] = {}
        self._notes: list[str] = []
        self._progress = 0.0
        self._ended = True
        self._observed: dict[int, int] = {}

    def setup(self) -> None:
        contract = self._contract = self.contract()
        robot, policy = contract.robot, contract.task.policy
        self._bag, self._streams, self._run = self._opened(str(self.get_parameter("bag").value))
        missing = self._streams.missing(robot, policy.primary_cameras + policy.wrist_cameras)
        if missing:
            topics = ", ".join(sorted(topic.name for topic in self._bag.topics.values() if topic.count))
            raise UserMistake(f"the bag has no {' and no '.join(missing)}; it has {topics}. Name what is called otherwise with --remap")
        self._episodes = episodes_of(self._run)
        if not self._episodes:
            raise UserMistake("the bag holds no time at which all of the policy's inputs are there; nothing can be replayed")
        against = str(self.get_parameter("against").value)
        self._expected = self._opened(against)[2] if against else self._run
        self._lockstep = bool(self.get_parameter("lockstep").value)
        primary = policy.primary_cameras[0]
        looks = looks_of(self._run, primary)
        self._looks = {look.frame_ns: look for look in looks}
        # In real time frames come when they come; in lock step the frame that completes an observation waits for the rest of it.
        held_back = {(primary, look.frame_ns): look.due_ns for look in looks} if self._lockstep else {}
        self._timeline = Timeline(self._bag, self._streams, robot, held_back)
        if not self._lockstep:
            # As the simulation: joint states that come late stop the arm. After the bag is read, which may take long.
            raise_priority(PHYSICS)
            lock_memory()
        self._make_publishers()
        self._inputs = inputs_node(self)
        self._record = ReplayRecord(self._inputs, robot, self._on_command)
        self._asks = ExecutorClient(self._inputs)
        self._playback = self._made_playback(policy.primary_cameras + policy.wrist_cameras)
        self._input_executor = MessageExecutor()
        self._input_executor.add_node(self._inputs)
        self._input_thread = threading.Thread(target=self._input_executor.spin, name="inputs", daemon=True)
        self._input_thread.start()
        # In real time no frame has these stamps: a policy that knows of no looks yet would look at what it is shown while time stands.
        self._tell_looks(looks)

    def start(self) -> None:
        self._running.set()
        self._thread = threading.Thread(target=self._play, name="play", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._running.clear()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def teardown(self) -> None:
        if self._bag is not None:
            self._bag.close()
        self._input_executor.shutdown(timeout_sec=1.0)
        self._input_thread.join(timeout=1.0)
        self._inputs.destroy_node()

    def report(self) -> tuple[str, dict[str, object]]:
        return "", {"progress": round(self._progress, 3), "episodes": len(self._commands)}

    def _opened(self, path: str) -> tuple[Bag, BagStreams, RecordedRun]:
        if not path:
            raise UserMistake("parameter bag: expected the folder or file of a recording, got nothing")
        bag = Bag(Path(path).expanduser())
        remap = dict(rule.split(":=", 1) for rule in str(self.get_parameter("remap").value).split(";") if ":=" in rule)
        streams = bag_streams(bag.topics, self._contract.robot, remap)
        return bag, streams, read_run(bag, streams, self._contract.robot)

    def _make_publishers(self) -> None:
        robot = self._contract.robot
        image_qos = qos.STEPPED if self._lockstep else qos.IMAGE_OUT
        entries: dict[str, tuple[Any, str, Any]] = {
            camera.name: (image_type(camera), camera.topic, image_qos) for camera in robot.cameras if camera.name in self._streams.cameras
        }
        entries[JOINT_STATES] = (JointState, robot.joint_states_topic, qos.REFERENCE)
        entries[REFERENCE] = (JointTrajectory, REFERENCE_TOPIC, qos.RECORDED)
        for arm in robot.arms:
            entries[POSE + arm.name] = (PoseStamped, f"replay/lawam/reference_pose/{arm.name}", qos.RECORDED)
        self._outputs = {stream: self.create_publisher(*entry) for stream, entry in entries.items()}
        self._topics = {stream: self.resolve_topic_name(topic) for stream, (_, topic, _) in entries.items()}
        # In lock step images are stamped with their exposure; otherwise the policy subtracts the latency of the camera.
        cameras = () if self._lockstep else robot.cameras
        self._latencies_ns = {camera.name: round(camera.latency_s * 1e9) for camera in cameras}
        self._looks_out = self.create_publisher(String, LOOKS_TOPIC, qos.LATCHED)
        self._instruction = self.create_publisher(String, "instruction", qos.LATCHED)
        self._estop = self.create_publisher(Bool, "lawam/estop", qos.LATCHED)

    def _made_playback(self, cameras: Sequence[str]) -> Playback:
        period_ns = self._contract.robot.tick_period_ns
        if not self._lockstep:
            rate = float(self.get_parameter("rate").value)
            self._wall = WallPlayback(self._publish, rate, period_ns, lambda: int(self.get_clock().now().nanoseconds))
            return self._wall
        latency_ns = round(float(self.get_parameter("lockstep_latency_s").value) * 1e9)
        owner = TimeOwner(self, self._inputs, latency_ns, period_ns, float(self.get_parameter("lockstep_timeout_s").value))
        return SteppedPlayback(owner, self._publish, cameras, self._looks, float(self.get_parameter("throttle").value), self._running)

    def _publish(self, message: TimedMessage, stamp_ns: int) -> str:
        stamp_ns += self._latencies_ns.get(message.stream, 0)
        raw = message.raw if cdr_stamp.stamp_ns(message.raw) == stamp_ns else cdr_stamp.restamped(message.raw, stamp_ns)
        self._outputs[message.stream].publish(raw)
        return self._topics[message.stream]

    def _tell_looks(self, looks: list[Look]) -> None:
        published = self._playback.published
        planned = [
            PlannedLook(published(look.frame_ns), published(look.observation_ns), look.observation_ns, self._ready_ns(look))
            for look in looks
        ]
        self._observed |= {look.observation_ns: look.recorded_ns for look in planned}
        self._looks_out.publish(looks_to_message(planned))

    def _ready_ns(self, look: Look) -> int:
        """A tick before the recorded chunk was used: a chunk on the wire by then is used at the same instant."""
        if self._lockstep or look.used_ns is None:
            return 0
        return self._playback.published(look.used_ns - self._contract.robot.tick_period_ns)

    def _play(self) -> None:
        try:
            self._wait_for_policy()
            for episode in self._episodes:
                if self._running.is_set():
                    self._play_episode(episode)
            if self._running.is_set():
                self._finish()
        except LawamError as error:
            self.get_logger().error(str(error))
            self.exit_code = error.exit_code
        except Exception as error:  # a thread that dies in silence would leave everybody waiting
            self.get_logger().error(f"the replay failed: {type(error).__name__}: {error}")
            self.exit_code = EXIT_CRITERION_MISSED
        finally:
            self.finished.set()

    def _wait_for_policy(self) -> None:
        deadline = time.monotonic() + _UP_S
        while self._running.is_set() and not self._record.policy_lives.wait(0.1):
            if time.monotonic() > deadline:
                raise EnvironmentLacks(f"waited {_UP_S:.0f} s for the policy; its last words tell why it is not there")
        if not self._asks.configure():
            raise LawamError("the chunk executor refused to configure; its last words tell why")

    def _play_episode(self, episode: Episode) -> None:
        """Stand at its start until the executor is active, go through it, and let the executor come to rest."""
        period_ns, now_ns = self._contract.robot.tick_period_ns, episode.start_ns
        self._begin(episode)
        self._record.take_statuses()
        self._commands.append([])
        self._ended = False
        events = deque(episode.events)
        while now_ns + period_ns < episode.end_ns and self._running.is_set():
            now_ns += period_ns
            while events and events[0].stamp_ns <= now_ns:
                self._operate(events.popleft())
            self._playback.go(now_ns, self._timeline.until(now_ns))
            self._take_reference(now_ns)
            self._progress = (now_ns - self._episodes[0].start_ns) / max(1, self._episodes[-1].end_ns - self._episodes[0].start_ns)
        self._end(now_ns, period_ns)

    def _begin(self, episode: Episode) -> None:
        first = newest_of(self._timeline.until(episode.start_ns))
        self._playback.stand(episode.start_ns, first)
        if episode.instruction and (self._record.status is None or self._record.status.instruction != episode.instruction):
            self._operate(OperatorEvent(episode.start_ns, INSTRUCTION, episode.instruction))
        activation = Asked(self._asks.activate)
        while self._running.is_set():
            self._playback.stand(episode.start_ns, first)
            if activation.answer is False:  # joint states are on their way
                activation = Asked(self._asks.activate, activation.since_s)
            status = self._record.status
            if activation.answer and status is not None and status.state != "INACTIVE":
                break
            if activation.age_s > _UP_S:
                raise LawamError("the chunk executor does not become active; its last words tell why")
        self._playback.begin(episode.start_ns, first)
        if not self._lockstep:
            self._tell_looks([look for look in self._looks.values() if episode.start_ns <= look.observation_ns < episode.end_ns])

    def _end(self, now_ns: int, period_ns: int) -> None:
        """The recorded operator ended the episode here; what follows is not compared."""
        self._settle(now_ns)
        statuses = [replace(status, stamp_ns=self._recorded(status.stamp_ns)) for status in self._record.take_statuses()]
        self._holds += holds_of(statuses)
        self._stops += stops_of(statuses)
        self._uses |= first_uses(self._observed_chunks(), statuses)
        self._ended = True
        deactivation = Asked(self._asks.deactivate)
        while self._running.is_set() and deactivation.answer is None and deactivation.age_s < _OPERATED_S:
            now_ns += period_ns
            self._playback.go(now_ns, self._timeline.until(now_ns))

    def _settle(self, now_ns: int) -> None:
        """Until the newest status was heard, so that the same replay tells the same stops."""
        deadline = time.monotonic() + _HEARD_S
        while time.monotonic() < deadline and self._lockstep and (self._record.status is None or self._record.status.stamp_ns < now_ns):
            time.sleep(0.002)

    def _operate(self, event: OperatorEvent) -> None:
        """What the operator did, done again. In lock step time stands until it has its effect."""
        if event.kind == INSTRUCTION:
            self._say(event.text)
            self._until(lambda status: status.instruction == event.text, event)
        elif event.kind == ESTOP:
            self._estop.publish(Bool(data=True))
            self._until(lambda status: status.state in ("STOP", "LATCHED"), event)
        else:
            if event.kind == RESET:
                self._estop.publish(Bool(data=False))
            done = Asked(lambda: self._asks.trigger(f"chunk_executor/{event.kind}")[0])
            self._until(lambda _: done.answer is not None, event)
            if not done.answer:
                self._notes.append(
                    f"{event.kind} at {self._seconds(event.stamp_ns):.2f} s was refused, as the executor was in another state"
                )

    def _until(self, happened: Callable[[ExecutorStatus], bool], event: OperatorEvent) -> None:
        deadline = time.monotonic() + _OPERATED_S
        while self._running.is_set() and not (self._record.status and happened(self._record.status)):
            if time.monotonic() > deadline:
                self._notes.append(f"{event.kind} at {self._seconds(event.stamp_ns):.2f} s had no effect")
                return
            self._playback.wait()

    def _finish(self) -> None:
        latency_ns = round(float(self.get_parameter("lockstep_latency_s").value) * 1e9)
        expected = self._expected
        primary = self._contract.task.policy.primary_cameras[0]
        recorded = recorded_results(expected, episodes_of(expected), looks_of(expected, primary), latency_ns)
        replayed = self._results(len(recorded.chunks))
        same_grid = self._lockstep and bool(expected.info.get("lockstep"))
        tolerances = Tolerances(
            position_m=float(self.get_parameter("tolerance_m").value),
            angle_rad=float(self.get_parameter("tolerance_rad").value),
            gripper_m=10.0 * float(self.get_parameter("tolerance_m").value),
            command_rad=float(self.get_parameter("tolerance_command_rad").value),
        )
        rate = float(self.get_parameter("rate").value)
        with_commands = self._lockstep or rate == 1.0
        comparison = compare(recorded, replayed, tolerances, with_commands, in_step=same_grid)
        apart_ns = used_apart_ns(recorded, replayed)
        if with_commands and not same_grid and apart_ns:
            self._notes.append(f"commands are compared until {self._seconds(apart_ns[0]):.2f} s, where a chunk was used at another instant")
        if self.get_parameter("same_weights").value:
            comparison = Comparison((weights_row(expected.info, self._record.policy_info), *comparison.rows))
        report = ReplayReport(
            bag=str(self.get_parameter("bag").value),
            policy=str(self._record.policy_info.get("checkpoint", "?")),
            mode="lock step" if self._lockstep else f"real time, rate {rate:g}",
            episodes=len(self._episodes),
            seconds=sum(episode.end_ns - episode.start_ns for episode in self._episodes) * 1e-9,
            command_hash=replayed.command_hash if self._lockstep else "",
            recorded_hash=recorded.command_hash if same_grid else "",
            comparison=comparison,
            notes=[*self._standing_notes(), *self._notes],
            problems=self._problems(),
        )
        self.get_logger().info("\n" + report.as_text())
        path = str(self.get_parameter("report").value)
        if path:
            Path(path).write_text(json.dumps(report.as_mapping()), encoding="utf-8")
        self.exit_code = EXIT_DONE if comparison.good else EXIT_CRITERION_MISSED

    def _results(self, chunks_expected: int) -> Replayed:
        deadline = time.monotonic() + _HEARD_S
        while len(self._record.chunks) < chunks_expected and time.monotonic() < deadline:
            time.sleep(0.02)
        return Replayed(self._observed_chunks(), self._commands, self._holds, self._stops, self._uses, self._record.chunk_ms)

    def _observed_chunks(self) -> list[ActionChunk]:
        """Chunks heard so far, by the recorded instants of their observations."""
        return [replace(chunk, stamp_ns=self._observed.get(chunk.stamp_ns, chunk.stamp_ns)) for chunk in self._record.chunks]

    def _standing_notes(self) -> list[str]:
        notes = ["commands are not checked against the joints, which follow the recorded ones"]
        if str(self.get_parameter("replay").value) == CLOSED:
            notes.append("chunks start from the new commands")
        if not self._run.chunks:
            notes.append("the recording has no chunks: nothing to compare them with")
        if self._lockstep and not self._run.info.get("lockstep"):
            notes.append("recorded in real time: chunks are used after one latency, not each after its own")
        return notes

    def _problems(self) -> list[str]:
        damaged = self._timeline.damaged
        return [
            *self._run.problems,
            *gaps_of(self._run, self._episodes),
            *([f"{damaged} messages that do not decode left out"] if damaged else []),
        ]

    def _say(self, instruction: str) -> None:
        self._instruction.publish(String(data=instruction))

    def _take_reference(self, now_ns: int) -> None:
        reference = self._playback.reference
        if reference is not None:
            command = messages.command_from_message(reference, self._contract.robot)
            self._commands[-1].append(command)

    def _on_command(self, command: JointCommand) -> None:
        if not self._lockstep and self._commands and not self._ended:
            self._commands[-1].append(replace(command, stamp_ns=self._recorded(command.stamp_ns)))

    def _recorded(self, stamp_ns: int) -> int:
        return stamp_ns if self._lockstep else self._wall.recorded(stamp_ns)

    def _seconds(self, stamp_ns: int) -> float:
        return (stamp_ns - self._episodes[0].start_ns) * 1e-9


def main() -> int:
    return run(PlayerNode)


if __name__ == "__main__":
    sys.exit(main())
