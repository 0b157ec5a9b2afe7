"""Chunk and workspace as markers, for rviz and Foxglove."""

from collections.abc import Iterable, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from lawam_ros.contract.robot import Arm, Robot
from lawam_ros.contract.view_topics import MARKER_NAMESPACES
from lawam_ros.control.hand_paths import HandPath
from lawam_ros.viz.chunk_path import gripper_events, path_colour

Array = NDArray[np.float64]
Rgb = tuple[int, int, int]

_WORKSPACE, _CHUNK, _GRIPPER = MARKER_NAMESPACES
_BOX, _CLOSES, _OPENS = (120, 200, 255), (235, 40, 40), (60, 200, 90)
_LINE_M, _BALL_M = 0.005, 0.02
_EDGES = [(a, b) for a in range(8) for b in (a ^ 1, a ^ 2, a ^ 4) if a < b]


def markers(robot: Robot, paths: Sequence[HandPath]) -> MarkerArray:
    """The workspace of every arm; per arm that a path is for its line from soon to late and balls where the gripper opens and closes.

    Identifiers are constant, so that a message replaces the one before. An empty list of paths takes the old ones away.
    """
    by_arm = {path.arm: path for path in paths}
    drawn = []
    for index, arm in enumerate(robot.arms):
        drawn.append(_lines(arm, _WORKSPACE, index, Marker.LINE_LIST, _corners(arm), [_BOX] * 24, 0.002))
        path = by_arm.get(arm.name)
        points, events = (np.empty((0, 3)), []) if path is None else (path.points_m, gripper_events(path.opening_m))
        colours = [path_colour((i + 1) / len(points)) for i in range(len(points))]
        drawn.append(_lines(arm, _CHUNK, index, Marker.LINE_STRIP, points, colours, _LINE_M))
        balls, paints = points[[event for event, _ in events]], [_CLOSES if closes else _OPENS for _, closes in events]
        drawn.append(_lines(arm, _GRIPPER, index, Marker.SPHERE_LIST, balls, paints, _BALL_M))
    return MarkerArray(markers=drawn)


def _corners(arm: Arm) -> Array:
    """Both ends of the twelve edges of the workspace, (24, 3)."""
    bounds = np.stack([arm.workspace_lower_m, arm.workspace_upper_m])
    corners = np.array([[bounds[(corner >> axis) & 1, axis] for axis in range(3)] for corner in range(8)])
    return corners[[corner for edge in _EDGES for corner in edge]]


def _lines(arm: Arm, namespace: str, index: int, kind: int, points_m: Array, colours: Iterable[Rgb], size_m: float) -> Marker:
    """A marker in the arm's base frame; none of its points deletes the one before."""
    # Stamp zero asks for the newest transform: pictures of a replay or of lock step have stamps of another time than TF.
    marker = Marker(header=Header(stamp=Time(), frame_id=arm.base_frame), ns=namespace, id=index, type=kind)
    marker.action = Marker.ADD if len(points_m) else Marker.DELETE
    marker.pose.orientation.w = 1.0
    marker.scale = Vector3(x=size_m, y=size_m, z=size_m)
    marker.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in points_m]
    marker.colors = [ColorRGBA(r=r / 255, g=g / 255, b=b / 255, a=1.0) for r, g, b in colours]
    marker.color.a = 1.0
    return marker
