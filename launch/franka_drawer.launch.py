"""A Franka arm opens a drawer: `ros2 launch lawam_ros franka_drawer.launch.py`."""

from launch import LaunchDescription

from lawam_ros.bringup import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description("franka_drawer")
