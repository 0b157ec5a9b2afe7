"""The text of ROS message definitions, for tools outside ROS that read messages as bytes."""

from functools import cache
from typing import Any

from rosbags.typesys import Stores, get_typestore


@cache
def message_definition(type_name: str) -> str:
    """Definition of a type such as ``sensor_msgs/msg/Image`` with all that it is made of, in the format ``ros2msg``.

    KeyError for a type that is not one of Jazzy's common ones.
    """
    return str(_types().generate_msgdef(type_name, ros_version=2)[0])


@cache
def _types() -> Any:
    return get_typestore(Stores.ROS2_JAZZY)
