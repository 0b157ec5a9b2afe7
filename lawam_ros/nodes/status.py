"""``lawam/status`` on the wire: written by the executor, read by the policy, the views and the runner."""

from dataclasses import asdict

from diagnostic_msgs.msg import DiagnosticArray

from lawam_ros.contract.wire import ExecutorStatus as ExecutorStatus
from lawam_ros.contract.wire import status_from_message as status_from_message
from lawam_ros.control.tick_output import Status
from lawam_ros.nodes import messages
from lawam_ros.nodes.stamp_clock import StampClock

_TIMES = ("hold_since", "epoch_stamp", "judged_stamp")


def status_to_message(status: Status, stamps: StampClock, stamp_ns: int) -> DiagnosticArray:
    """One entry with the fields of the executor's status; an ERROR in STOP and LATCHED."""
    values = asdict(status)
    for name in _TIMES:
        clock_ns = values.pop(f"{name}_ns")
        values[name] = 0 if clock_ns is None else stamps.to_ros(clock_ns)
    values["accepted_sequence"] = status.accepted_sequence or 0
    return messages.diagnostics(stamp_ns, "lawam/status", status.reason if status.state in ("STOP", "LATCHED") else "", values)
