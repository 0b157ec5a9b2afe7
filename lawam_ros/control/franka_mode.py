"""What a Franka says it is doing, as far as it keeps the arm from obeying (franka_msgs/FrankaRobotState, ``robot_mode``)."""

_TROUBLES = {
    3: "robot_guiding",
    4: "robot_reflex",
    5: "robot_user_stopped",
    6: "robot_recovering",
}


def robot_trouble(robot_mode: int) -> str:
    """Reason to stop, empty in the modes OTHER, IDLE and MOVE (0, 1, 2). A mode that nobody knows is a reason too."""
    return "" if robot_mode in (0, 1, 2) else _TROUBLES.get(robot_mode, "robot_mode_unknown")
