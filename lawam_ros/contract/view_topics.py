"""What the node ``subgoal_view`` shows."""

from lawam_ros.contract.recorded_topics import RecordedTopic
from lawam_ros.contract.robot import Robot

SUBGOAL_PICTURES = ("heatmap", "change", "pca")
MARKER_NAMESPACES = ("workspace", "chunk", "gripper")


def view_topics(robot: Robot) -> tuple[RecordedTopic, ...]:
    """Pictures and markers; the distance to the subgoal is among what is recorded."""
    pictures = [f"lawam/subgoal/{name}" for name in SUBGOAL_PICTURES] + [overlay_topic(camera.name) for camera in robot.cameras]
    topics = [RecordedTopic(name, "sensor_msgs/msg/Image") for name in pictures]
    return (*topics, RecordedTopic("lawam/markers", "visualization_msgs/msg/MarkerArray", latched=True))


def overlay_topic(camera: str) -> str:
    """Topic of a camera's pictures with the chunk in them."""
    return f"lawam/overlay/{camera}"
