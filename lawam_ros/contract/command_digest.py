"""A hash of a stream of set-points, to tell whether two runs commanded the same."""

import hashlib

import numpy as np

from lawam_ros.contract.records import JointCommand


class CommandDigest:
    """Of stamps since the first one, positions, velocities, accelerations and gripper openings, bit for bit."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._start_ns: int | None = None

    @property
    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def add(self, stamp_ns: int, command: JointCommand) -> None:
        """One set-point, commanded at ``stamp_ns``."""
        self._start_ns = stamp_ns if self._start_ns is None else self._start_ns
        grippers = [command.gripper_m[name] for name in sorted(command.gripper_m)]
        self._hash.update(np.int64(stamp_ns - self._start_ns).tobytes())
        for values in (command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2, grippers):
            self._hash.update(np.asarray(values, dtype="<f8").tobytes())
