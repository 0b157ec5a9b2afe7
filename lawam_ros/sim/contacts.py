"""Who touches whom: fingers of the simulated hands on things."""

from collections.abc import Sequence

import mujoco


class FingerContacts:
    """Counts fingers whose pad is in contact with any of some geoms."""

    def __init__(self, model: mujoco.MjModel, geoms: Sequence[str], pads: Sequence[str]) -> None:
        self._geoms = {int(model.geom(name).id) for name in geoms}
        self._pads = [int(model.geom(name).id) for name in pads]

    def count(self, data: mujoco.MjData) -> int:
        """From 0 to the number of pads."""
        partners: set[int] = set()
        for first, second in data.contact.geom.tolist():
            if first in self._geoms:
                partners.add(second)
            if second in self._geoms:
                partners.add(first)
        return sum(pad in partners for pad in self._pads)
