"""Environment of all tests, set before anything imports rclpy."""

import os

# Wrong field types are sent as garbage unless the generated message classes check them.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
# Nothing that a test starts may be heard by another machine.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("MUJOCO_GL", "egl")
