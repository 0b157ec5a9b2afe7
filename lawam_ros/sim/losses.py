"""Messages that a simulated robot does not send: faults of cameras and joints at instants of an episode, to be tried and recorded."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import listed

JOINT_STATES = "joint_states"
"""Name of that stream beside those of the cameras."""


@dataclass(frozen=True)
class Loss:
    """Nothing of ``stream``, a camera's name or JOINT_STATES, from ``from_s`` to before ``to_s``: s of simulated time since the reset."""

    stream: str
    from_s: float
    to_s: float


def losses_from_text(text: str, streams: Collection[str]) -> tuple[Loss, ...]:
    """``STREAM:FROM:TO`` separated by semicolons. Raises UserMistake; also for 0 s, without whose messages no episode begins."""
    return tuple(_loss(entry, streams) for entry in listed(text))


def is_lost(losses: Sequence[Loss], stream: str, time_s: float) -> bool:
    """Whether a message of ``stream`` is left out at ``time_s`` of the episode."""
    return any(loss.stream == stream and loss.from_s <= time_s < loss.to_s for loss in losses)


def _loss(entry: str, streams: Collection[str]) -> Loss:
    expected = (
        f"parameter losses: expected STREAM:FROM:TO such as wrist:1.5:2 (s, 0 < FROM < TO) with one of {', '.join(streams)}, got {entry}"
    )
    try:
        stream, *span = entry.split(":")
        from_s, to_s = (float(instant) for instant in span)
    except ValueError:
        raise UserMistake(expected) from None
    if stream not in streams or not 0.0 < from_s < to_s < math.inf:
        raise UserMistake(expected)
    return Loss(stream, from_s, to_s)
