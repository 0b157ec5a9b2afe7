"""What a recording of a run holds: the topics from which it can be looked at, replayed and turned into demonstrations."""

from dataclasses import dataclass

from lawam_ros.contract.bridge import ACTIVE_TOPIC, Bridge
from lawam_ros.contract.robot import Robot

EPISODE_TOPIC = "lawam/episode"
"""String ``start``, ``end`` or ``discard``: where demonstrations begin and end in a recording."""
RUN_INFO_TOPIC = "lawam/run_info"
"""String, latched: JSON of what ran (``nodes/run_info.py``)."""

RECORDER_READY_TOPIC = "recorder/ready"
"""String, latched: the folder of the bag, once the recorder listens."""


@dataclass(frozen=True)
class RecordedTopic:
    """name: relative, as in the robot file; type as in ``sensor_msgs/msg/Image``. latched: the newest is for those who come late.

    driver: published by the robot's own drivers or by people, whose quality of service is theirs, or best effort. kept_as: name in the
    recording, where it is another.
    """

    name: str
    type: str
    latched: bool = False
    driver: bool = False
    kept_as: str = ""


def recorded_topics(robot: Robot, subgoals: bool = True, bridged: bool = False) -> tuple[RecordedTopic, ...]:
    """subgoals: also the features the policy compares, 0.3 MB and more per chunk; they are only published while somebody listens.
    bridged: a bridge drives the robot, or its mock."""
    trajectory, diagnostics, image = "trajectory_msgs/msg/JointTrajectory", "diagnostic_msgs/msg/DiagnosticArray", "sensor_msgs/msg/Image"
    text, switch, stamp = "std_msgs/msg/String", "std_msgs/msg/Bool", "std_msgs/msg/Header"
    topics = [RecordedTopic(robot.joint_states_topic, "sensor_msgs/msg/JointState", driver=True)]
    for camera in robot.cameras:
        camera_type = "sensor_msgs/msg/CompressedImage" if camera.is_compressed else image
        topics += [RecordedTopic(camera.topic, camera_type, driver=True)]
        topics += [RecordedTopic(camera.info_topic, "sensor_msgs/msg/CameraInfo", driver=True)]
    topics += [RecordedTopic(f"lawam/reference_pose/{arm.name}", "geometry_msgs/msg/PoseStamped") for arm in robot.arms]
    topics += [
        RecordedTopic("lawam/reference", trajectory),
        RecordedTopic("lawam/action_chunk", trajectory),
        RecordedTopic(robot.sim_command_topic, trajectory),
        RecordedTopic("lawam/observed", stamp),
        RecordedTopic("lawam/status", diagnostics, latched=True),
        RecordedTopic("sim/status", diagnostics, latched=True),
        RecordedTopic("/diagnostics", diagnostics),
        RecordedTopic("instruction", text, latched=True, driver=True),
        RecordedTopic("lawam/estop", switch, latched=True, driver=True),
        RecordedTopic(EPISODE_TOPIC, text),
        RecordedTopic(RUN_INFO_TOPIC, text, latched=True),
        RecordedTopic("robot_description", text, latched=True),
        RecordedTopic("lawam/subgoal/distance", "sensor_msgs/msg/JointState"),
    ]
    if subgoals:
        topics += [RecordedTopic("lawam/subgoal/current", image), RecordedTopic("lawam/subgoal/predicted", image)]
    if bridged and robot.bridge is not None:
        topics += bridge_topics(robot.bridge)
    return tuple(topics)


def bridge_topics(bridge: Bridge) -> list[RecordedTopic]:
    """What a bridge is told, what it told the robot, and whether it obeys.

    Set-points are kept under another name: a bridge follows whoever publishes them from where the arms stand, a player of bags too.
    """
    return [
        RecordedTopic(bridge.command_topic, "trajectory_msgs/msg/JointTrajectory", kept_as=f"recorded/{bridge.command_topic.strip('/')}"),
        RecordedTopic(bridge.reference_topic, "sensor_msgs/msg/JointState", driver=True),
        RecordedTopic(ACTIVE_TOPIC, "std_msgs/msg/Bool", latched=True),
    ]
