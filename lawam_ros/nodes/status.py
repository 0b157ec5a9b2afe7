"""``lawam/status`` on the wire: written by the executor, read by the policy, the views and the runner."""

from dataclasses import asdict, dataclass

from diagnostic_msgs.msg import DiagnosticArray

from lawam_ros.control.executor import Status
from lawam_ros.nodes import messages
from lawam_ros.nodes.stamp_clock import StampClock

_TIMES = ("hold_since", "epoch_stamp", "judged_stamp")


@dataclass(frozen=True)
class ExecutorStatus:
    """What a reader of ``lawam/status`` gets: times are ROS nanoseconds, 0 where unset; ``stamp_ns`` is the tick that wrote it."""

    stamp_ns: int
    state: str
    reason: str
    hold_since_ns: int
    epoch: int
    epoch_stamp_ns: int
    instruction: str
    initialised_from: str
    accepted_sequence: int
    judged_stamp_ns: int
    rejected: int
    rejected_reason: str

    @property
    def wants_chunks(self) -> bool:
        return self.state in ("RUN", "HOLD")


def status_to_message(status: Status, stamps: StampClock, stamp_ns: int) -> DiagnosticArray:
    """One entry with the fields of the executor's status; an ERROR in STOP and LATCHED."""
    values = asdict(status)
    for name in _TIMES:
        clock_ns = values.pop(f"{name}_ns")
        values[name] = 0 if clock_ns is None else stamps.to_ros(clock_ns)
    values["accepted_sequence"] = status.accepted_sequence or 0
    return messages.diagnostics(stamp_ns, "lawam/status", status.reason if status.state in ("STOP", "LATCHED") else "", values)


def status_from_message(message: DiagnosticArray) -> ExecutorStatus:
    """What the executor said. Raises BadMessage for a message of somebody else."""
    try:
        return _status_from_values(message, messages.values_by_key(message.status[0]))
    except (IndexError, KeyError, ValueError) as error:
        raise messages.BadMessage(f"expected the executor's status, got a message where {error!r}") from error


def _status_from_values(message: DiagnosticArray, values: dict[str, str]) -> ExecutorStatus:
    return ExecutorStatus(
        stamp_ns=messages.nanoseconds(message.header.stamp),
        hold_since_ns=int(values["hold_since"]),
        epoch_stamp_ns=int(values["epoch_stamp"]),
        judged_stamp_ns=int(values["judged_stamp"]),
        epoch=int(values["epoch"]),
        accepted_sequence=int(values["accepted_sequence"]),
        rejected=int(values["rejected"]),
        **{key: values[key] for key in ("state", "reason", "instruction", "initialised_from", "rejected_reason")},
    )
