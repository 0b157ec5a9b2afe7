"""What the executor publishes after a tick: commands, the reference that others read, and its status."""

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.contract.robot import Drive, Robot
from lawam_ros.control.tick_output import Status, TickOutput
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.command_outputs import command_output
from lawam_ros.nodes.shared_core import SharedCore
from lawam_ros.nodes.status import status_to_message


class ExecutorOutputs:
    """Called by whoever ticks, and by nobody else."""

    def __init__(
        self, node: Node, shared: SharedCore, robot: Robot, drive: Drive | None, stepped: bool, reference_every: int, status_every: int
    ) -> None:
        """reference_every, status_every: in ticks; of the status, between its changes."""
        self._shared = shared
        self._robot = robot
        self._reference_every, self._status_every = reference_every, status_every
        self._names = messages.command_names(robot)
        self._command = command_output(node, robot, drive)
        self.commands = self._command.publisher
        profile = qos.STEPPED_REFERENCE if stepped else qos.REFERENCE
        self._reference = node.create_publisher(JointTrajectory, "lawam/reference", profile)
        self._poses = {arm.name: node.create_publisher(PoseStamped, f"lawam/reference_pose/{arm.name}", profile) for arm in robot.arms}
        self._status = node.create_publisher(DiagnosticArray, "lawam/status", qos.STEPPED_STATUS if stepped else qos.LATCHED)
        self._said: Status | None = None
        self.was_active = False

    def publish(self, output: TickOutput, index: int) -> None:
        """Set-point first: whoever reads LATCHED has then been sent the set-point at rest."""
        stamps, command = self._shared.stamps, output.command
        active = output.status.state != "INACTIVE"
        if command is not None and not output.repeated:
            stamp_ns = stamps.to_ros(command.stamp_ns)
            message = messages.command_to_message(command, self._robot, stamp_ns, self._names)
            if active or self.was_active:  # the tick that deactivates still carries the set-point at rest
                self._command.publish(message, output, stamps)
            if index % self._reference_every == 0:
                self._reference.publish(message)
                for arm in self._robot.arms:
                    self._poses[arm.name].publish(messages.pose_to_message(output.poses[arm.name], stamp_ns, arm.base_frame))
        self.was_active = active
        if output.status != self._said or index % self._status_every == 0:
            self.publish_status(output.status, self._shared.now_ns() if command is None else command.stamp_ns)

    def publish_status(self, status: Status, now_ns: int) -> None:
        """now_ns: on the core's clock."""
        stamps = self._shared.stamps
        self._status.publish(status_to_message(status, stamps, stamps.to_ros(now_ns)))
        self._said = status
