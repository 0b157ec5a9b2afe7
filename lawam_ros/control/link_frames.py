"""Poses of all links of a robot, fingers included: for cameras on links, and for viewers that draw the whole robot."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract import rotations
from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.records import Pose
from lawam_ros.control import urdf

Array = NDArray[np.float64]

_TURNING, _SLIDING = ("revolute", "continuous"), ("prismatic",)


@dataclass(frozen=True)
class LinkJoint:
    """One joint: its frame in the parent link (4, 4), its kind and unit axis. mimic: the joint it follows, factor and offset."""

    name: str
    parent: str
    child: str
    kind: str
    origin: Array
    axis: Array
    mimic: tuple[str, float, float] | None

    def position(self, positions: Mapping[str, float]) -> float:
        """In rad or m. KeyError where neither it nor the joint it follows is among the positions."""
        if self.kind == "fixed":
            return 0.0
        if self.mimic is None or self.name in positions:
            return positions[self.name]
        leader, factor, offset = self.mimic
        return factor * positions[leader] + offset

    def transform(self, position: float) -> Array:
        """T_parent_child (4, 4) at a position in rad or m."""
        motion = np.eye(4)
        if self.kind in _TURNING:
            motion[:3, :3] = rotations.matrix_from_quat(rotations.quat_from_rotvec(position * self.axis))
        elif self.kind in _SLIDING:
            motion[:3, 3] = position * self.axis
        return np.asarray(self.origin @ motion)


class LinkFrames:
    """The tree of a URDF."""

    def __init__(self, urdf_text: str) -> None:
        """Raises UserMistake for a broken URDF or a joint of a kind that one number cannot move."""
        found = [_link_joint(joint) for joint in urdf.joints(urdf_text)]
        children = {joint.child for joint in found}
        roots = sorted({joint.parent for joint in found} - children)
        if len(roots) != 1 or len(children) != len(found):
            raise UserMistake(f"robot description: expected a tree of links with one root, got roots {', '.join(roots) or 'none'}")
        self.root = roots[0]
        self.joints = _parents_first(found, self.root)
        self.links = (self.root, *(joint.child for joint in self.joints))

    def relative(self, positions: Mapping[str, float]) -> dict[str, Array]:
        """Link -> T_parent_link (4, 4). positions: joint name -> rad or m. KeyError for a moving joint that is not among them."""
        return {joint.child: joint.transform(joint.position(positions)) for joint in self.joints}

    def poses(self, positions: Mapping[str, float]) -> dict[str, Array]:
        """Link -> T_root_link (4, 4)."""
        relative = self.relative(positions)
        out = {self.root: np.eye(4)}
        for joint in self.joints:
            out[joint.child] = out[joint.parent] @ relative[joint.child]
        return out


def transform_of(pose: Pose) -> Array:
    """(4, 4) of a pose."""
    out = np.eye(4)
    out[:3, :3] = rotations.matrix_from_quat(pose.quat_xyzw)
    out[:3, 3] = pose.position_m
    return out


def _link_joint(joint: urdf.Joint) -> LinkJoint:
    kind, name = str(joint.get("type")), str(joint.get("name"))
    if kind not in (*_TURNING, *_SLIDING, "fixed"):
        raise UserMistake(f"robot description: joint '{name}' is {kind}; expected revolute, continuous, prismatic or fixed")
    parent, child = urdf.attribute(joint, "parent", "link"), urdf.attribute(joint, "child", "link")
    axis = np.zeros(3) if kind == "fixed" else urdf.axis(joint)
    return LinkJoint(name, parent, child, kind, urdf.origin(joint), axis, urdf.mimic(joint))


def _parents_first(joints: list[LinkJoint], root: str) -> tuple[LinkJoint, ...]:
    ordered: list[LinkJoint] = []
    reached = {root}
    while len(ordered) < len(joints):
        ready = [joint for joint in joints if joint.parent in reached and joint.child not in reached]
        if not ready:
            raise UserMistake("robot description: expected a tree of links, got joints that go in a circle")
        ordered += ready
        reached |= {joint.child for joint in ready}
    return tuple(ordered)
