"""Forward kinematics and Jacobian of one serial arm read from a URDF."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.records import Pose
from lawam_ros.control import scalar_rotations, urdf

Array = NDArray[np.float64]


class Chain:
    """Revolute joints between two frames of a URDF; constant transforms are multiplied out once.

    Transforms are 4x4, metres; joint vectors follow ``joint_names`` (base to tip), rad. A stacked chain takes and gives everything with a
    leading dimension (A,).
    """

    def __init__(self, joint_names: tuple[str, ...], before_joint: Array, after_last: Array) -> None:
        """before_joint: (n, 4, 4), stacked (n, A, 4, 4), constant transform in front of each rotation about its own +z; after_last: (4, 4),
        stacked (A, 4, 4), up to the TCP."""
        self.joint_names = joint_names
        self._constant = before_joint
        # A turn about +z mixes the first two columns: cosine times (x, y) plus sine times (y, -x).
        self._columns = np.ascontiguousarray(before_joint[..., :2])
        self._turned_columns = np.stack([before_joint[..., 1], -before_joint[..., 0]], axis=-1)
        self._after_last = after_last
        self._entries_first = (*range(before_joint.ndim - 2, before_joint.ndim), *range(before_joint.ndim - 2))

    @classmethod
    def stacked(cls, chains: Sequence["Chain"]) -> "Chain":
        """Several arms of equally many joints worked out at once: joint vectors become (A, n), poses (A, 4, 4), Jacobians (A, 6, n)."""
        return cls(
            tuple(name for chain in chains for name in chain.joint_names),
            np.stack([chain._constant for chain in chains], axis=1),
            np.stack([chain._after_last for chain in chains]),
        )

    @classmethod
    def from_urdf(cls, urdf_text: str, base_frame: str, tcp_frame: str) -> "Chain":
        """Chain from ``base_frame`` to ``tcp_frame``. Raises UserMistake where the URDF is broken or holds no such revolute chain."""
        names: list[str] = []
        constants: list[Array] = []
        pending = np.eye(4)
        for joint in _path(urdf_text, base_frame, tcp_frame):
            pending = pending @ urdf.origin(joint)
            kind = joint.get("type")
            if kind in ("revolute", "continuous"):
                align = _turn_z_to(urdf.axis(joint))
                names.append(str(joint.get("name")))
                constants.append(pending @ align)
                pending = align.T
            elif kind != "fixed":
                raise UserMistake(
                    f"robot description: joint '{joint.get('name')}' is {kind}; expected revolute, continuous or fixed joints in an arm"
                )
        if not names:
            raise UserMistake(f"robot description: no joint moves between '{base_frame}' and '{tcp_frame}'")
        return cls(tuple(names), np.array(constants), pending)

    def transform(self, q_rad: Array) -> Array:
        """T_base_tcp (4, 4)."""
        first, *others = self._locals(q_rad)
        out = first
        for local in others:
            out = out @ local
        return np.asarray(out @ self._after_last)

    def pose(self, q_rad: Array) -> Pose:
        """TCP pose in the base frame."""
        transform = self.transform(q_rad)
        return Pose(position_m=transform[:3, 3].copy(), quat_xyzw=np.array(scalar_rotations.from_matrix(transform)))

    def jacobian(self, q_rad: Array) -> Array:
        """Geometric Jacobian (6, n) at the TCP in the base frame: rows vx vy vz (m/s), wx wy wz (rad/s)."""
        return self.transform_and_jacobian(q_rad)[1]

    def transform_and_jacobian(self, q_rad: Array) -> tuple[Array, Array]:
        """T_base_tcp (4, 4) and the Jacobian (6, n) in one pass."""
        frames = self._locals(q_rad)
        # All products from the base on in a few rounds: after a round every frame holds twice as many factors.
        width = 1
        while width < len(frames):
            frames[width:] = frames[:-width] @ frames[width:]
            width *= 2
        tcp = frames[-1] @ self._after_last
        entries = frames.transpose(self._entries_first)
        # Axes from row 3 on, and levers, with x and y once more behind z: the cross product is then one difference for all rows.
        rows, levers = np.empty((8, *entries.shape[2:])), np.empty((5, *entries.shape[2:]))
        rows[3:6] = entries[:3, 2]
        rows[6:] = rows[3:5]
        np.subtract(tcp.T[3, :3, None], entries[:3, 3], out=levers[:3])
        levers[3:] = levers[:2]
        np.subtract(rows[4:7] * levers[2:], rows[5:] * levers[1:4], out=rows[:3])
        return tcp, rows[:6].T.swapaxes(-1, -2)

    def _locals(self, q_rad: Array) -> Array:
        """Transform of each joint (n, 4, 4), stacked (n, A, 4, 4): its constant part turned about +z."""
        turns = q_rad.T[..., None, None]
        local = self._constant.copy()
        columns = local[..., :2]
        np.multiply(np.cos(turns), self._columns, out=columns)
        columns += np.sin(turns) * self._turned_columns
        return local


def fixed_transform(urdf_text: str, base_frame: str, frame: str) -> Array:
    """T_base_frame (4, 4) of two frames that do not move against each other. Raises UserMistake where a joint lies between them."""
    out = np.eye(4)
    for joint in _path(urdf_text, base_frame, frame):
        if joint.get("type") != "fixed":
            raise UserMistake(f"robot description: expected fixed joints from '{base_frame}' to '{frame}', got '{joint.get('name')}'")
        out = out @ urdf.origin(joint)
    return out


def _path(urdf_text: str, base_frame: str, tip_frame: str) -> list[urdf.Joint]:
    """Joints from base to tip."""
    parents = {urdf.attribute(joint, "child", "link"): joint for joint in urdf.joints(urdf_text)}
    path: list[urdf.Joint] = []
    frame = tip_frame
    while frame != base_frame:
        if frame not in parents or len(path) > len(parents):
            raise UserMistake(f"robot description: no way from frame '{base_frame}' to '{tip_frame}', stopped at '{frame}'; check the URDF")
        path.append(parents[frame])
        frame = urdf.attribute(parents[frame], "parent", "link")
    return path[::-1]


def _turn_z_to(axis: Array) -> Array:
    """Rotation (4, 4) that carries +z to ``axis``."""
    out = np.eye(4)
    if axis[2] > 1.0 - 1e-12:
        return out
    helper = np.array([1.0, 0.0, 0.0]) if abs(axis[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x = np.cross(helper, axis)
    x /= np.linalg.norm(x)
    out[:3, 0], out[:3, 1], out[:3, 2] = x, np.cross(axis, x), axis
    return out
