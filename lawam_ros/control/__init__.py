"""From action chunks to joint commands that keep the robot's limits: pure functions and small state machines, no ROS, no clock."""
