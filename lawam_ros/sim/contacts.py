"""Who touches whom: fingers of the simulated hand on things."""

from collections.abc import Sequence

import mujoco
import numpy as np

from lawam_ros.sim.panda_mjcf import FINGER_PADS


class FingerContacts:
    """Counts fingers whose pad is in contact with any of some geoms."""

    def __init__(self, model: mujoco.MjModel, geoms: Sequence[str]) -> None:
        self._geoms = [int(model.geom(name).id) for name in geoms]
        self._pads = [int(model.geom(name).id) for name in FINGER_PADS]

    def count(self, data: mujoco.MjData) -> int:
        """0 to 2."""
        pairs = data.contact.geom
        partners = pairs[np.isin(pairs, self._geoms)[:, ::-1]]
        return sum(pad in partners for pad in self._pads)
