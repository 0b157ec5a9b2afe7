"""What a replay changes for the nodes that it drives: recorded commands on topics of their own, and the looks of the recording."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from std_msgs.msg import String

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.wire import BadMessage
from lawam_ros.nodes.parameters import Parameter

OPEN, CLOSED = "open", "closed"
REPLAY = Parameter(
    "replay",
    "",
    "A recording is played: open, chunks start from its commands; closed, from the new ones. Joints that do not follow are no fault then.",
)
REFERENCE_TOPIC = "replay/lawam/reference"
LOOKS_TOPIC = "replay/looks"
"""String, latched: JSON of what the recorded policy looked at."""


class PlannedLook(NamedTuple):
    """Stamps in ns: of the primary frame and of the observation as they are published, and of the observation as it was recorded.

    ready_ns: in real time, before which the chunk is not to be published, so that it is used when the recorded one was; 0 for at once.
    """

    frame_ns: int
    observation_ns: int
    recorded_ns: int
    ready_ns: int


def check_replay(value: str) -> str:
    """Raises UserMistake for what is neither."""
    if value not in ("", OPEN, CLOSED):
        raise UserMistake(f"parameter replay: expected {OPEN}, {CLOSED} or nothing, got {value!r}")
    return value


def commanded_topic(topic: str, replay: str) -> str:
    """Where a policy finds the commands its chunks start from."""
    return f"replay/{topic}" if replay == OPEN else topic


def looks_to_message(looks: Sequence[PlannedLook]) -> String:
    return String(data=json.dumps([list(look) for look in looks]))


def looks_from_message(message: String) -> list[PlannedLook]:
    """Raises BadMessage for a message of somebody else."""
    try:
        return [PlannedLook(*(int(stamp) for stamp in look)) for look in json.loads(message.data)]
    except (TypeError, ValueError) as error:
        raise BadMessage(f"expected the looks of a replay, got {message.data[:40]!r}") from error
