"""MuJoCo text of a robot from its URDF: primitives, masses, joints and couplings, so that there is one description of it."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.robot import Camera
from lawam_ros.contract.rotations import matrix_from_quat, quat_from_matrix, quat_multiply
from lawam_ros.control import urdf
from lawam_ros.control.link_frames import LinkFrames, LinkJoint
from lawam_ros.sim.mjcf_text import numbers

Array = NDArray[np.float64]

_MUJOCO_FROM_OPTICAL = np.array([1.0, 0.0, 0.0, 0.0])
"""MuJoCo's cameras look along -z with y up, optical frames along z with y down: half a turn about x."""


class UrdfDrawing:
    """Text of the links that hang on one link, which becomes the world's frame. Links above it are left out."""

    def __init__(self, urdf_text: str, base_link: str, standing: Mapping[str, float]) -> None:
        """standing: joints that are welded at these positions (rad or m). Raises UserMistake for a broken URDF or an unknown base link."""
        self._frames = LinkFrames(urdf_text)
        if base_link not in self._frames.links:
            raise UserMistake(f"robot description: expected a link '{base_link}', it has {', '.join(self._frames.links)}")
        root = ElementTree.fromstring(urdf_text)
        self._links = {str(link.get("name")): link for link in root.findall("link")}
        self._joints = {str(joint.get("name")): joint for joint in root.findall("joint")}
        self._colours = {str(material.get("name")): _colour(material) for material in root.findall("material")}
        self._base, self._standing = base_link, standing

    def bodies(self, classes: Mapping[str, str], extra: Mapping[str, str]) -> str:
        """The body tree. classes: link -> default class of it and all that hangs on it. extra: link -> text inside its body."""
        return self._body(self._base, None, classes, extra)

    def couplings(self) -> str:
        """Joints that follow others."""
        return "".join(
            f"""
    <joint joint1="{joint.name}" joint2="{joint.mimic[0]}" polycoef="{joint.mimic[2]} {joint.mimic[1]} 0 0 0" solref="0.01 1"/>"""
            for joint in self._frames.joints
            if joint.mimic is not None
        )

    def _body(self, link: str, joint: LinkJoint | None, classes: Mapping[str, str], extra: Mapping[str, str]) -> str:
        inside = self._joint(joint) + self._inertial(link) + self._geoms(link) + extra.get(link, "")
        inside += "".join(self._body(one.child, one, classes, extra) for one in self._frames.joints if one.parent == link)
        at = np.eye(4) if joint is None else joint.transform(self._standing.get(joint.name, 0.0))
        of_class = f' childclass="{classes[link]}"' if link in classes else ""
        return f"""
    <body name="{link}" {_pose(at)} gravcomp="1"{of_class}>{inside}
    </body>"""

    def _joint(self, joint: LinkJoint | None) -> str:
        if joint is None or joint.kind == "fixed" or joint.name in self._standing:
            return ""
        limit = self._joints[joint.name].find("limit")
        if limit is None:
            raise UserMistake(f"robot description: joint '{joint.name}' has no <limit>")
        kind = "slide" if joint.kind == "prismatic" else "hinge"
        return f"""
      <joint name="{joint.name}" type="{kind}" axis="{numbers(joint.axis.tolist())}" range="{limit.get("lower")} {limit.get("upper")}"/>"""

    def _inertial(self, link: str) -> str:
        inertial = self._links[link].find("inertial")
        if inertial is None:
            return ""
        mass, inertia, origin = inertial.find("mass"), inertial.find("inertia"), inertial.find("origin")
        if mass is None or inertia is None:
            raise UserMistake(f"robot description: link '{link}': expected <mass> and <inertia> in <inertial>")
        place = "0 0 0" if origin is None else origin.get("xyz", "0 0 0")
        moments = " ".join(str(inertia.get(name)) for name in ("ixx", "iyy", "izz"))
        return f"""
      <inertial pos="{place}" mass="{mass.get("value")}" diaginertia="{moments}"/>"""

    def _geoms(self, link: str) -> str:
        return "".join(self._geom(f"{link}_{i}", visual) for i, visual in enumerate(self._links[link].findall("visual")))

    def _geom(self, name: str, visual: ElementTree.Element) -> str:
        material, geometry = visual.find("material"), visual.find("geometry")
        shape = None if geometry is None else next(iter(geometry), None)
        colour = None if material is None else self._colours.get(str(material.get("name")))
        if shape is None or colour is None:
            raise UserMistake(f"robot description: {name}: expected <geometry> and a named <material> with a colour in <visual>")
        return f"""
      <geom name="{name}" {_shape(shape, name)} {_pose(urdf.origin(visual))} rgba="{colour}"/>"""


def camera_xml(camera: Camera, vertical_view_deg: float) -> tuple[str, str]:
    """The link that carries a camera of the robot file, and its text inside that link's body."""
    if camera.mount is None:
        raise UserMistake(f"camera {camera.name}: expected a mount in the robot file, without which no picture can be simulated")
    optical = camera.mount.optical
    transform = np.eye(4)
    transform[:3, :3] = matrix_from_quat(quat_multiply(optical.quat_xyzw, _MUJOCO_FROM_OPTICAL))
    transform[:3, 3] = optical.position_m
    text = f"""
      <camera name="{camera.name}" {_pose(transform)} fovy="{vertical_view_deg}"/>"""
    return camera.mount.link, text


def _colour(material: ElementTree.Element) -> str:
    colour = material.find("color")
    return "0.5 0.5 0.5 1" if colour is None else str(colour.get("rgba"))


def _shape(shape: ElementTree.Element, name: str) -> str:
    if shape.tag == "box":
        half = [0.5 * float(side) for side in str(shape.get("size")).split()]
        return f'type="box" size="{numbers(half)}"'
    if shape.tag == "cylinder":
        return f'type="cylinder" size="{numbers([float(str(shape.get("radius"))), 0.5 * float(str(shape.get("length")))])}"'
    raise UserMistake(f"robot description: {name}: expected a box or a cylinder, got {shape.tag}")


def _pose(transform: Array) -> str:
    x, y, z, w = quat_from_matrix(transform[:3, :3])
    px, py, pz = transform[:3, 3]
    return f'pos="{px:.9g} {py:.9g} {pz:.9g}" quat="{w:.9g} {x:.9g} {y:.9g} {z:.9g}"'
