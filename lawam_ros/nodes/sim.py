"""Simulation node: a MuJoCo world behind the topics of a real robot, in real time or as the owner of time in lock step.

In real time physics runs in one thread, and another publishes the pictures that a process of their own draws. In lock step one thread does
it all, and waits for everybody at every step.
"""

import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.camera_process import CameraProcess
from lawam_ros.nodes.images import image_message, image_type
from lawam_ros.nodes.inputs_node import inputs_node
from lawam_ros.nodes.lock_step import LATENCY, LOCKSTEP, TIMEOUT
from lawam_ros.nodes.managed import ManagedNode, run
from lawam_ros.nodes.own_thread import OwnThread
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.priority import PHYSICS, lock_memory, raise_priority
from lawam_ros.nodes.time_owner import TimeOwner
from lawam_ros.sim.episode_end import EpisodeEnd
from lawam_ros.sim.losses import JOINT_STATES, is_lost, losses_from_text
from lawam_ros.sim.renderer import choose_renderer
from lawam_ros.sim.stepped_streams import EPISODE_NS, SteppedStreams

SEED = Parameter("seed", 0, "Seed of the world at the next reset.", low=0, high=2**31 - 1, read_only=False)
JOINT_STATES_HZ = Parameter("joint_states_hz", 125.0, "Rate of joint_states.", low=20.0, high=500.0)
STATUS_HZ = Parameter("status_hz", 10.0, "Rate of sim/status.", low=1.0, high=50.0)
LOSSES = Parameter(
    "losses",
    "",
    "Faults to try: messages left out in every episode, STREAM:FROM:TO in s since the reset, separated by semicolons. STREAM is a camera "
    "or joint_states.",
)
TABLE = (SEED, JOINT_STATES_HZ, STATUS_HZ, LOSSES, LOCKSTEP, LATENCY, TIMEOUT)

if TYPE_CHECKING:
    from lawam_ros.sim.cameras import CameraRig
    from lawam_ros.sim.world_state import Snapshot

_RESET_S = 30.0
_MAX_CATCH_UP_S = 0.1
_LONGEST_REST_S = 0.1


class SimNode(ManagedNode):
    """Joint states and camera images out, stamped set-points of ``sim_controller/joint_trajectory`` in."""

    def __init__(self) -> None:
        super().__init__("sim", TABLE)
        self._lock = threading.Lock()
        self._running = threading.Event()
        self._threads: list[threading.Thread] = []
        self._inputs: OwnThread | None = None
        self._frames = 0
        self._behind_s = 0.0
        self._bad_commands = 0
        self._owner: TimeOwner | None = None
        self._wanted_seed: int | None = None
        self._standing = threading.Event()

    def setup(self) -> None:
        choose_renderer()  # before MuJoCo is imported anywhere in this process
        from lawam_ros.sim.scenes import scene_of
        from lawam_ros.sim.world import World

        contract = self._contract = self.contract()
        robot = contract.robot
        self._losses = losses_from_text(str(self.get_parameter("losses").value), [*(c.name for c in robot.cameras), JOINT_STATES])
        self._world = World(contract)
        self._scene = scene_of(contract)
        self._joint_states = self.create_publisher(JointState, robot.joint_states_topic, qos.REFERENCE)
        self._status = self.create_publisher(DiagnosticArray, "sim/status", qos.LATCHED)
        self._description = self.create_publisher(String, "robot_description", qos.LATCHED)
        self._description.publish(String(data=(urdf_dir() / robot.urdf).read_text(encoding="utf-8")))
        image_qos = qos.STEPPED if self.get_parameter("lockstep").value else qos.IMAGE_OUT
        self._images = {camera.name: self.create_publisher(image_type(camera), camera.topic, image_qos) for camera in robot.cameras}
        self._infos = {camera.name: self.create_publisher(CameraInfo, camera.info_topic, qos.REFERENCE) for camera in robot.cameras}
        self._reset_service = self.create_service(Trigger, "sim/reset", self._on_reset)
        self._reset()
        inputs = inputs_node(self)
        if self.get_parameter("lockstep").value:
            latency_ns = round(float(self.get_parameter("lockstep_latency_s").value) * 1e9)
            timeout_s = float(self.get_parameter("lockstep_timeout_s").value)
            self._owner = TimeOwner(self, inputs, latency_ns, robot.tick_period_ns, timeout_s)
        else:
            inputs.create_subscription(JointTrajectory, robot.sim_command_topic, self._on_command, qos.COMMAND)
        self._inputs = OwnThread(inputs, "inputs", self.fail)

    def start(self) -> None:
        self._running.set()
        loops = (("physics", self._physics), ("cameras", self._cameras)) if self._owner is None else (("lock step", self._step_by_step),)
        self._threads = [threading.Thread(target=loop, name=name, daemon=True) for name, loop in loops]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._running.clear()
        for thread in self._threads:
            thread.join(timeout=2.0)

    def teardown(self) -> None:
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = self._owner = None

    def report(self) -> tuple[str, dict[str, object]]:
        problem = f"physics is {self._behind_s:.1f} s behind the wall clock" if self._behind_s > 1.0 else ""
        return problem, {"frames": self._frames, "behind_s": self._behind_s, "bad_commands": self._bad_commands}

    def _on_reset(self, _: Trigger.Request, reply: Trigger.Response) -> Trigger.Response:
        if self._owner is not None:
            reply.success, reply.message = self._reset_standing(self._owner)
        else:
            reply.success, reply.message = True, f"reset with seed {self._reset()}"
        return reply

    def _reset_standing(self, owner: TimeOwner) -> tuple[bool, str]:
        """In lock step: asks the thread that owns time, which stands still while the executor is inactive."""
        seed = int(self.get_parameter("seed").value)
        if owner.active:
            return False, "expected an inactive chunk executor, time is running; deactivate it first"
        self._standing.clear()
        self._wanted_seed = seed
        done = self._standing.wait(timeout=_RESET_S)
        return done, f"reset with seed {seed}" if done else "time did not stand still"

    def _reset(self) -> int:
        seed = int(self.get_parameter("seed").value)
        with self._lock:
            self._world.reset(seed)
            self._measure = self._scene.measure(self._world.parameters)
            self._seed = seed
            self._verdict = EpisodeEnd(self._contract.task.episode)
        return seed

    def _on_command(self, message: JointTrajectory) -> None:
        try:
            command = messages.command_from_message(message, self._contract.robot)
        except messages.BadMessage as error:
            self._bad_commands += 1
            self.get_logger().warning(f"set-point dropped: {error}", throttle_duration_sec=1.0)
            return
        with self._lock:
            self._world.apply(command)

    def _physics(self) -> None:
        step_s = self._contract.robot.tick_period_ns * 1e-9
        every_joints = max(1, round(1.0 / (step_s * float(self.get_parameter("joint_states_hz").value))))
        every_status = max(1, round(1.0 / (step_s * float(self.get_parameter("status_hz").value))))
        start, index = time.monotonic(), 0
        while self._running.is_set():
            late = time.monotonic() - (start + index * step_s)
            if late < 0:
                time.sleep(-late)
            elif late > _MAX_CATCH_UP_S:  # a world that hurries after a stall would move the arm faster than commanded
                self._behind_s += late
                start += late
            with self._lock:
                self._world.step(step_s)
                positions, velocities = self._world.joint_positions(), self._world.joint_velocities()
                stamp_ns, time_s = self.get_clock().now().nanoseconds, self._world.time_s
                self._measure.update(self._world.state())
            if index % every_joints == 0 and not is_lost(self._losses, JOINT_STATES, time_s):
                self._joint_states.publish(messages.joint_state_to_message(stamp_ns, positions, velocities))
            if index % every_status == 0:
                self._publish_status(stamp_ns)
            index += 1

    def _publish_status(self, stamp_ns: int) -> None:
        with self._lock:
            result, seed, time_s = self._measure.result(), self._seed, self._world.time_s
        values: dict[str, object] = {
            "seed": seed,
            "time_s": time_s,
            "success": result.success,
            "final_error_m": result.final_error_m,
            "min_tcp_object_distance_m": result.min_tcp_object_distance_m,
            **({} if self._owner is None else {"over": self._verdict.reason, "command_hash": self._verdict.command_hash}),
            **{f"stage_{name}": reached for name, reached in result.stages.items()},
        }
        self._status.publish(messages.diagnostics(stamp_ns, "sim/status", "", values))

    def _cameras(self) -> None:
        try:
            with closing(CameraProcess()) as drawn:
                with self._lock:
                    drawn.show(self._world.model, self._contract.robot.cameras)
                self._show(drawn)
        except LawamError as error:
            self.get_logger().error(str(error))
            self.fail()

    def _show(self, drawn: CameraProcess) -> None:
        period_s = 1.0 / max(camera.rate_hz for camera in self._contract.robot.cameras)
        next_s = time.monotonic()
        while self._running.is_set():
            begun_s = time.monotonic()
            with self._lock:
                snapshot, stamp_ns = self._world.snapshot(), self.get_clock().now().nanoseconds
            for name, picture in drawn.pictures(snapshot).items():
                if not is_lost(self._losses, name, snapshot.time_s):
                    self._publish_image(name, picture, snapshot, stamp_ns)
            self._frames += 1
            # Where drawing takes long, for two thirds of the time: fewer pictures, and a core for who reads them.
            now_s = time.monotonic()
            next_s = max(next_s + period_s, now_s + min(0.5 * (now_s - begun_s), _LONGEST_REST_S))
            time.sleep(max(0.0, next_s - time.monotonic()))

    def _step_by_step(self) -> None:
        """The loop of lock step: everything stamped t, the step t, the executor's set-point of t, one period of physics."""
        from lawam_ros.sim.cameras import CameraRig

        assert self._owner is not None
        rig = CameraRig(self._world.model, self._contract.robot.cameras)
        joints_hz = float(self.get_parameter("joint_states_hz").value)
        steps = SteppedStreams(self._contract.robot, joints_hz, self.resolve_topic_name, self._losses)
        try:
            while self._running.is_set():
                self._begin(steps, self._owner)
                while self._running.is_set() and self._wanted_seed is None:
                    self._one_step(steps, self._owner, rig)
        except LawamError as error:
            self.get_logger().error(str(error))
            self.exit_code = error.exit_code
            self.finished.set()
        finally:
            rig.close()

    def _begin(self, steps: SteppedStreams, owner: TimeOwner) -> None:
        """An episode: time jumps to its own start, so that its stamps and noise depend on its seed alone."""
        if self._wanted_seed is not None:
            self._reset()
        steps.begin(self._seed * EPISODE_NS)
        owner.forget()
        self._wanted_seed = None
        self._standing.set()

    def _one_step(self, steps: SteppedStreams, owner: TimeOwner, rig: "CameraRig") -> None:
        now_ns = steps.now_ns
        due = steps.due()
        snapshot = self._world.snapshot()
        pictures = rig.pictures(snapshot) if due.pictures else {}

        def publish() -> None:
            if due.joints:
                positions, velocities = self._world.joint_positions(), self._world.joint_velocities()
                self._joint_states.publish(messages.joint_state_to_message(now_ns, positions, velocities))
            for name in due.cameras:
                self._publish_image(name, pictures[name], snapshot, now_ns)
            if due.status:
                self._publish_status(now_ns)

        self._frames += due.pictures
        if self._contract.task.policy.primary_cameras[0] in due.cameras:
            owner.frame(now_ns)
        publish()
        owner.step(now_ns, steps.newest, publish, self._running)
        while self._running.is_set() and not owner.active and self._wanted_seed is None:
            owner.stand(now_ns, steps.newest, publish)
        if not owner.active or owner.reference is None:
            return
        command = messages.command_from_message(owner.reference, self._contract.robot)
        with self._lock:
            self._world.apply(command)
            self._world.step(self._contract.robot.tick_period_ns * 1e-9)
            was_over = self._verdict.reason
            if not was_over:  # what is reported afterwards, and when, must not change what was reached
                self._measure.update(self._world.state())
            self._verdict.update(now_ns, command, self._measure.result().success)
        steps.advance(said=self._verdict.reason != was_over)

    def _publish_image(self, name: str, picture: NDArray[np.uint8], snapshot: "Snapshot", stamp_ns: int) -> None:
        from lawam_ros.sim.cameras import focal_length_px

        camera = self._contract.robot.camera(name)
        focal_px = focal_length_px(self._world.model, snapshot.look, camera)
        message = image_message(picture, camera, stamp_ns, f"{name}_optical_frame")
        self._images[name].publish(message)
        self._infos[name].publish(messages.camera_info(message.header, picture.shape[0], picture.shape[1], focal_px))


def main() -> int:
    # The whole process: a thread that waits for a core while it holds the interpreter would hold up the physics too.
    raise_priority(PHYSICS)
    lock_memory()
    return run(SimNode)


if __name__ == "__main__":
    sys.exit(main())
