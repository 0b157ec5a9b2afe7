"""Environment of all tests, set before anything imports rclpy."""

import os

from lawam_ros.cli.domain import ReservedDomain

# Wrong field types are sent as garbage unless the generated message classes check them.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
# Threads of torch that wait for each other on a busy machine cost more than they bring at these sizes; read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What a test starts is heard by no other run and no other machine, whatever the shell it was started from says.
DOMAIN = ReservedDomain()
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN.number)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

pytest_plugins = ["lawam_ros.cli.pytest_plugin"]
