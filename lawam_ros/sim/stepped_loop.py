"""A world driven through the executor's pure tick in stepped time: no ROS, no waiting, every command under the real limits."""

from collections.abc import Mapping

from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk, JointCommand, Pose
from lawam_ros.control.executor import ChunkExecutor
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.measured import robot_state
from lawam_ros.control.tick_output import Status, TickOutput
from lawam_ros.sim.world import World

_START_NS = 1_000_000_000


class SteppedLoop:
    """One simulated robot under one executor. A period is ``tick`` (measure, command) and then ``advance`` (physics, time)."""

    def __init__(self, contract: Contract, world: World, start_ns: int = _START_NS) -> None:
        """Activates an executor at the world's present pose. Raises ActivationRefused where the executor does."""
        self.world = world
        self._contract = contract
        urdf = (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")
        self._chains = {arm.name: Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame) for arm in contract.robot.arms}
        self._period_ns = contract.robot.tick_period_ns
        self._executor = ChunkExecutor(contract, urdf)
        self._output: TickOutput | None = None
        self.now_ns = start_ns
        self.sequence = 1  # of the next chunk to be offered
        self._executor.measured(self.now_ns, world.joint_positions())
        self._executor.activate(self.now_ns)
        self.epoch = self._executor.status.epoch

    def tick(self) -> TickOutput:
        """The executor's command for this instant; the world takes it."""
        self._executor.measured(self.now_ns, self.world.joint_positions())
        self._output = self._executor.tick(self.now_ns)
        if self._output.command is not None:
            self.world.apply(self._output.command)
        return self._output

    def advance(self) -> None:
        """One period of physics."""
        self.world.step(self._period_ns * 1e-9)
        self.now_ns += self._period_ns

    def offer(self, chunk: ActionChunk) -> str | None:
        """Hand a chunk stamped ``now_ns`` with ``sequence`` and ``epoch`` to the executor; None, or why it was refused."""
        self.sequence += 1
        return self._executor.offer_chunk(chunk, self.now_ns)

    @property
    def status(self) -> Status:
        return self._executor.status

    @property
    def state(self) -> str:
        """State of the executor with its reason, for messages."""
        status = self._executor.status
        return f"{status.state}({status.reason})"

    @property
    def command(self) -> JointCommand:
        """The command of the last tick."""
        if self._output is None or self._output.command is None:
            raise RuntimeError("tick() must come first")
        return self._output.command

    @property
    def commanded(self) -> Mapping[str, Pose]:
        """Commanded TCP poses of the last tick by arm, each in its arm's base frame."""
        if self._output is None:
            raise RuntimeError("tick() must come first")
        return self._output.poses

    def measured(self) -> tuple[dict[str, Pose], dict[str, float]]:
        """TCP poses and gripper openings (m) of the measured joints by arm, as the policy node works them out."""
        tcp, openings, _ = robot_state(self._contract.robot, self._chains, self.world.joint_positions())
        return tcp, openings
