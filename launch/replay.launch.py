"""A recorded run goes through policy and executor again: `ros2 launch lawam_ros replay.launch.py bag:=FOLDER`."""

from pathlib import Path

from launch import LaunchDescription

from lawam_ros.bringup import described
from lawam_ros.cli.replay_nodes import REPLAY_ARGUMENTS, replay_nodes
from lawam_ros.data.replay_setup import replay_values


def generate_launch_description() -> LaunchDescription:
    return described(REPLAY_ARGUMENTS, lambda given: replay_nodes(replay_values(Path(given["bag"]), given)), ends_with="player")
