"""Two Quanta X1 arms fold a towel: `ros2 launch lawam_ros x1_towel_fold.launch.py`."""

from launch import LaunchDescription

from lawam_ros.bringup import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description("x1_towel_fold")
