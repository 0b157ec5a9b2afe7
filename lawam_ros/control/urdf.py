"""What the joints of a URDF say, read with errors that name the joint."""

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake

Array = NDArray[np.float64]
Joint = ElementTree.Element


def joints(urdf_text: str) -> list[Joint]:
    """Every <joint> of a robot. Raises UserMistake for text that is not XML."""
    try:
        return ElementTree.fromstring(urdf_text).findall("joint")
    except ElementTree.ParseError as error:
        raise UserMistake(f"robot description: expected URDF, got text that is not XML ({error})") from error


def attribute(joint: Joint, tag: str, name: str) -> str:
    """Attribute of a joint's child element. Raises UserMistake where it is missing."""
    element = joint.find(tag)
    value = None if element is None else element.get(name)
    if value is None:
        raise UserMistake(f"robot description: joint '{joint.get('name')}' has no <{tag} {name}=...>")
    return value


def _numbers(joint: Joint, tag: str, name: str, default: str) -> Array:
    element = joint.find(tag)
    text = default if element is None else element.get(name, default)
    try:
        values = np.array([float(part) for part in text.split()])
    except ValueError:
        values = np.empty(0)
    if values.shape != (3,) or not np.all(np.isfinite(values)):
        raise UserMistake(f"robot description: joint '{joint.get('name')}', {tag} {name}: expected three finite numbers, got {text!r}")
    return values


def origin(joint: Joint) -> Array:
    """Transform (4, 4) of the joint's frame in the parent link: xyz in m, rpy about fixed axes, R = Rz(yaw) Ry(pitch) Rx(roll)."""
    roll, pitch, yaw = _numbers(joint, "origin", "rpy", "0 0 0")
    cr, sr, cp, sp, cy, sy = math.cos(roll), math.sin(roll), math.cos(pitch), math.sin(pitch), math.cos(yaw), math.sin(yaw)
    out = np.eye(4)
    out[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    out[:3, 3] = _numbers(joint, "origin", "xyz", "0 0 0")
    return out


def axis(joint: Joint) -> Array:
    """Unit vector in the joint's frame."""
    direction = _numbers(joint, "axis", "xyz", "1 0 0")
    length = float(np.linalg.norm(direction))
    if length < 1e-6:
        raise UserMistake(f"robot description: joint '{joint.get('name')}' has an axis of zero length")
    return direction / length


def mimic(joint: Joint) -> tuple[str, float, float] | None:
    """The joint that this one follows, factor and offset (rad or m); None for a joint of its own."""
    element = joint.find("mimic")
    if element is None:
        return None
    try:
        return str(element.get("joint")), float(element.get("multiplier", "1")), float(element.get("offset", "0"))
    except ValueError as error:
        raise UserMistake(f"robot description: joint '{joint.get('name')}', mimic: expected numbers ({error})") from error
