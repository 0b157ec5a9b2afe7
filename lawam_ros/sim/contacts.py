"""Who touches whom: fingers of the simulated hands on things."""

from collections.abc import Sequence

import mujoco
import numpy as np


class FingerContacts:
    """Counts fingers whose pad is in contact with any of some geoms."""

    def __init__(self, model: mujoco.MjModel, geoms: Sequence[str], pads: Sequence[str]) -> None:
        self._geoms = [int(model.geom(name).id) for name in geoms]
        self._pads = [int(model.geom(name).id) for name in pads]

    def count(self, data: mujoco.MjData) -> int:
        """From 0 to the number of pads."""
        pairs = data.contact.geom
        partners = pairs[np.isin(pairs, self._geoms)[:, ::-1]]
        return sum(pad in partners for pad in self._pads)
