"""Lock step on the wire: the step message, its quality of service, and the parameters all three sides share (docs/time.md)."""

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray

from lawam_ros.nodes import messages
from lawam_ros.nodes.parameters import Parameter

LOCKSTEP = Parameter("lockstep", False, "Time moves in steps of the simulation, which waits for everybody: a run repeats exactly.")
LATENCY = Parameter("lockstep_latency_s", 0.1, "In lock step, from an observation to the use of its chunk.", low=0.0, high=5.0)
TIMEOUT = Parameter("lockstep_timeout_s", 60.0, "In lock step, longest wait for an answer (wall time).", low=1.0, high=3600.0)

STEP_TOPIC = "lawam/step"
OBSERVED_TOPIC = "lawam/observed"
REPEAT_S = 0.2
"""Wall time after which an unanswered step is published again."""


def step_to_message(stamp_ns: int, newest: Mapping[str, int]) -> DiagnosticArray:
    """Step ``stamp_ns``; newest: resolved topic name -> stamp of the newest message published on it so far."""
    return messages.diagnostics(stamp_ns, STEP_TOPIC, "", dict(newest))


def step_from_message(message: DiagnosticArray) -> tuple[int, dict[str, int]]:
    """The step's stamp and what it lists. Raises BadMessage for a message of somebody else."""
    try:
        newest = {topic: int(stamp) for topic, stamp in messages.values_by_key(message.status[0]).items()}
    except (IndexError, ValueError) as error:
        raise messages.BadMessage(f"expected a step of lock step, got a message where {error!r}") from error
    return messages.nanoseconds(message.header.stamp), newest
