"""What kind of ROS 2 this machine has, as far as it decides what may be done with it."""

import importlib.util

from lawam_ros.contract.errors import EnvironmentLacks


def refuse_ros_wheels() -> None:
    """Raises EnvironmentLacks on the ROS wheels from PyPI, which nobody signs for: they stay away from hardware."""
    if importlib.util.find_spec("ros_wheels_bootstrapper") is not None:
        raise EnvironmentLacks(
            "hardware:=real needs an official ROS 2 installation, this is the stand-in from PyPI wheels that nobody signs for; "
            "install ROS 2 Jazzy, source it and run 'make setup' again"
        )
