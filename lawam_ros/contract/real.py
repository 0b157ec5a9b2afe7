"""How a robot is driven in reality, read from the section ``real`` of its robot file; a robot without one is simulated only."""

from dataclasses import dataclass

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.yaml_fields import Fields

TRAJECTORY_WINDOW = "trajectory_window"
POSE = "pose"
OUTPUTS = (TRAJECTORY_WINDOW, POSE)
"""What the controller is sent: windows of joint points with stamps (JointTrajectory), or the commanded TCP (PoseStamped)."""

FRANKA_GRIPPER = "franka"
GRIPPER_COMMAND = "gripper_command"
GRIPPERS = (FRANKA_GRIPPER, GRIPPER_COMMAND)
"""Actions of the gripper: franka_msgs Move and Grasp, or control_msgs GripperCommand."""

DRIVERS = ("franka_ros2",)
_LEAD_WINDOWS = 2.0


@dataclass(frozen=True)
class WindowTiming:
    """rate_hz: windows per second. lead_s: how far ahead of time commands are final. transport_s: by then a window is heard."""

    rate_hz: float
    lead_s: float
    transport_s: float

    @property
    def every_ns(self) -> int:
        return round(1e9 / self.rate_hz)

    @property
    def lead_ns(self) -> int:
        return round(self.lead_s * 1e9)

    @property
    def transport_ns(self) -> int:
        return round(self.transport_s * 1e9)


@dataclass(frozen=True)
class Watch:
    """Where controller and robot say how they are, and what is demanded of it. Topics and services without the robot's namespace.

    hardware: component of ros2_control. error_recovery: action that clears a reflex. max_age_s: longest silence of the controller's state,
    and how long its reference may be farther than reference_error_rad from the command.
    """

    controller_manager: str
    controller_state: str
    robot_state: str
    hardware: str
    error_recovery: str
    max_age_s: float
    reference_error_rad: float


@dataclass(frozen=True)
class RealGripper:
    """A gripper that takes goals, not set-points: closed below close_below_m of opening, opened above open_above_m.

    kind: one of GRIPPERS. action: the GripperCommand action, or the node of Move and Grasp. settle_s: how long a wish must last.
    timeout_s: longest wait for a result. position_per_opening: GripperCommand position of 1 m of opening (franka_gripper: one finger, 0.5).
    """

    kind: str
    action: str
    close_below_m: float
    open_above_m: float
    settle_s: float
    timeout_s: float
    speed_m_s: float
    force_n: float
    position_per_opening: float


@dataclass(frozen=True)
class RealRobot:
    """output: one of OUTPUTS. controllers: file in config/controllers. joint_states: topics that the executor reads; all others read the
    driver's merged one, which comes joint_state_hz times a second. robot_type: the driver's name of the robot."""

    driver: str
    robot_type: str
    joint_state_hz: float
    controllers: str
    controller: str
    output: str
    command_topic: str
    joint_states: tuple[str, ...]
    window: WindowTiming
    pose_rate_hz: float
    watch: Watch
    gripper: RealGripper


def real_robot(fields: Fields, arms: int) -> RealRobot:
    """Validated section ``real``. Raises UserMistake naming the key that is wrong."""
    if arms != 1:
        raise UserMistake(f"real: expected a robot with one arm, got {arms}")
    window, watch, gripper = fields.child("window"), fields.child("watch"), fields.child("gripper")
    real = RealRobot(
        driver=fields.choice("driver", DRIVERS),
        robot_type=fields.text("robot_type"),
        joint_state_hz=fields.number("joint_state_hz", 20.0, 1000.0),
        controllers=fields.text("controllers"),
        controller=fields.text("controller"),
        output=fields.choice("output", OUTPUTS),
        command_topic=fields.text("command_topic"),
        joint_states=fields.texts("joint_states"),
        window=WindowTiming(
            rate_hz=window.number("rate_hz", 25.0, 50.0),
            lead_s=window.number("lead_s", 0.02, 0.5),
            transport_s=window.number("transport_s", 0.005, 0.1),
        ),
        pose_rate_hz=fields.number("pose_rate_hz", 10.0, 250.0),
        watch=Watch(
            controller_manager=watch.text("controller_manager"),
            controller_state=watch.text("controller_state"),
            robot_state=watch.text("robot_state"),
            hardware=watch.text("hardware"),
            error_recovery=watch.text("error_recovery"),
            max_age_s=watch.number("max_age_s", 0.02, 1.0),
            reference_error_rad=watch.number("reference_error_rad", 0.001, 1.0),
        ),
        gripper=_gripper(gripper),
    )
    lead_s = real.window.transport_s + _LEAD_WINDOWS / real.window.rate_hz
    if real.window.lead_s < lead_s:
        raise UserMistake(
            f"real.window.lead_s: expected at least transport_s and two windows, {lead_s:g} s, got {real.window.lead_s:g}; "
            "a window that is lost must not stop the arm"
        )
    if real.command_topic.strip("/").startswith("sim_controller"):
        raise UserMistake(
            f"real.command_topic: expected a topic of a real controller, got {real.command_topic!r}, which is the simulation's"
        )
    for part in (window, watch, gripper, fields):
        part.done()
    return real


def _gripper(fields: Fields) -> RealGripper:
    gripper = RealGripper(
        kind=fields.choice("kind", GRIPPERS),
        action=fields.text("action"),
        close_below_m=fields.number("close_below_m", 0.0, 1.0),
        open_above_m=fields.number("open_above_m", 0.0, 1.0),
        settle_s=fields.number("settle_s", 0.0, 2.0),
        timeout_s=fields.number("timeout_s", 0.1, 30.0),
        speed_m_s=fields.number("speed_m_s", 0.001, 1.0),
        force_n=fields.number("force_n", 0.1, 500.0),
        position_per_opening=fields.number("position_per_opening", 0.01, 10.0),
    )
    if gripper.close_below_m >= gripper.open_above_m:
        raise UserMistake(
            f"real.gripper: expected close_below_m under open_above_m, got {gripper.close_below_m:g} and {gripper.open_above_m:g}; "
            "between them the gripper stays as it is"
        )
    return gripper
