"""Single numbers as peers send them."""

from typing import Any

import numpy as np

from lawam_ros.policies.wire.peer_mistake import PeerMistake

MAX_STEPS = 1000
"""Most denoising steps a peer may ask for."""


def number(value: Any, what: str, low: float, high: float) -> float:
    """A number within bounds. Raises PeerMistake."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not low <= value <= high:
        raise PeerMistake(f"expected {what} between {low:g} and {high:g}, got {value!r:.80}")
    return float(value)


def whole_number(value: Any, what: str, low: int, high: int) -> int:
    """A whole number within bounds. Raises PeerMistake."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise PeerMistake(f"expected {what} as a whole number from {low} to {high}, got {value!r:.80}")
    return int(value)
