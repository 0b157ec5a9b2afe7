"""How a bridge drives a robot that has no ros2_control, read from the section ``bridge`` of its robot file."""

from collections.abc import Mapping
from dataclasses import dataclass

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.yaml_fields import Fields

FALL_PERCENT = 7.0
"""Below this level of its battery the Quanta X1 switches its arms off and releases their brakes: they fall (vendor's manual)."""

MAX_RATE_HZ = 200.0
"""Of control calls (vendor's manual)."""

SDK, TOPICS, MOCK = "sdk", "topics", "mock"
BACK_ENDS = (SDK, TOPICS, MOCK)
"""Ways of a bridge to its robot: the vendor's Python package, the robot's own topics, or none."""

ACTIVE_TOPIC = "lawam/controller_active"
"""Whether the robot obeys the bridge, and the bridge set-points (Bool, latched)."""


@dataclass(frozen=True)
class ArmTopics:
    """The robot's own topics of one arm; names as on the robot."""

    pose_command: str
    gripper_command: str
    joint_states: str
    gripper_joint_states: str


@dataclass(frozen=True)
class Bridge:
    """node: executable and name of the bridge. sdk_address: of the vendor's service. command_topic: set-points to the real robot. rate_hz:
    of commands to each arm and gripper.

    command_age_s, state_age_s: longest silence of commands, and of any stream of the robot's state or of the bridge. start_distance_rad:
    from the measured joints to the first command. reference_error_rad: from the executor's command to what the robot was told.
    battery_*_percent: warning, and no motion. battery_topic: a BatteryState for the back end ``topics``, empty where the robot publishes
    none. camera_streams: camera of the contract -> ``group.method`` of the vendor's client.
    """

    node: str
    sdk_address: str
    command_topic: str
    rate_hz: float
    command_age_s: float
    state_age_s: float
    start_distance_rad: float
    reference_error_rad: float
    battery_warn_percent: float
    battery_stop_percent: float
    topics: Mapping[str, ArmTopics]
    camera_streams: Mapping[str, str]
    battery_topic: str

    @property
    def reference_topic(self) -> str:
        """What the robot was told last (JointState, every cycle)."""
        return f"{self.node}/reference"


def bridge_from_fields(fields: Fields, arms: list[str]) -> Bridge:
    """Raises UserMistake naming the key."""
    topics, streams = fields.child("topics"), fields.child("camera_streams")
    bridge = Bridge(
        node=fields.text("node"),
        sdk_address=fields.text("sdk_address"),
        command_topic=fields.text("command_topic"),
        rate_hz=fields.number("rate_hz", 20.0, MAX_RATE_HZ),
        command_age_s=fields.number("command_age_s", 0.02, 0.5),
        state_age_s=fields.number("state_age_s", 0.02, 0.5),
        start_distance_rad=fields.number("start_distance_rad", 0.001, 0.2),
        reference_error_rad=fields.number("reference_error_rad", 0.001, 1.0),
        battery_warn_percent=fields.number("battery_warn_percent", FALL_PERCENT, 100.0),
        battery_stop_percent=fields.number("battery_stop_percent", FALL_PERCENT + 1.0, 100.0),
        topics={arm: _arm_topics(topics.child(arm)) for arm in arms},
        camera_streams={name: _stream(streams, name) for name in streams.names()},
        battery_topic=str(topics.raw("battery") or ""),
    )
    if bridge.command_topic.strip("/").startswith("sim_controller"):
        raise UserMistake(
            f"bridge.command_topic: expected a topic of a real robot, got {bridge.command_topic!r}, which is the simulation's"
        )
    for part in (topics, streams, fields):
        part.done()
    return bridge


def _stream(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if [part.isidentifier() and not part.startswith("_") for part in text.split(".")] != [True, True]:
        raise UserMistake(f"bridge.camera_streams.{name}: expected group.method of the vendor's client, got {text!r}")
    return text


def _arm_topics(fields: Fields) -> ArmTopics:
    topics = ArmTopics(**{name: fields.text(name) for name in ArmTopics.__dataclass_fields__})
    fields.done()
    return topics
