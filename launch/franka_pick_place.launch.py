"""A Franka arm picks a cube and places it on the target: `ros2 launch lawam_ros franka_pick_place.launch.py`."""

from launch import LaunchDescription

from lawam_ros.bringup import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description("franka_pick_place")
