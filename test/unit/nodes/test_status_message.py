"""``lawam/status`` says the same to its readers as the executor meant."""

from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 messages are not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.serialization import deserialize_message, serialize_message

from lawam_ros.control.executor import Status
from lawam_ros.nodes import messages
from lawam_ros.nodes.messages import BadMessage
from lawam_ros.nodes.stamp_clock import StampClock
from lawam_ros.nodes.status import ExecutorStatus, status_from_message, status_to_message

OFFSET_NS = 1_700_000_000_000_000_123
STATUS = Status(
    state="HOLD",
    reason="waiting_for_chunk",
    hold_since_ns=5_000_000_001,
    epoch=3,
    epoch_stamp_ns=4_000_000_000,
    instruction="put the red cube on the blue pad; künstlich",
    initialised_from="measured",
    accepted_sequence=41,
    judged_stamp_ns=4_900_000_000,
    rejected=2,
    rejected_reason="epoch",
)


def wire(status: Status) -> DiagnosticArray:
    message = status_to_message(status, StampClock(OFFSET_NS), OFFSET_NS + 6_000_000_000)
    return deserialize_message(serialize_message(message), DiagnosticArray)


def test_round_trip_with_times_in_ros_nanoseconds() -> None:
    assert status_from_message(wire(STATUS)) == ExecutorStatus(
        stamp_ns=OFFSET_NS + 6_000_000_000,
        state="HOLD",
        reason="waiting_for_chunk",
        hold_since_ns=OFFSET_NS + 5_000_000_001,
        epoch=3,
        epoch_stamp_ns=OFFSET_NS + 4_000_000_000,
        instruction=STATUS.instruction,
        initialised_from="measured",
        accepted_sequence=41,
        judged_stamp_ns=OFFSET_NS + 4_900_000_000,
        rejected=2,
        rejected_reason="epoch",
    )


def test_what_is_not_there_yet_is_zero() -> None:
    fresh = replace(
        STATUS, state="INACTIVE", reason="", hold_since_ns=None, accepted_sequence=None, judged_stamp_ns=None, initialised_from=""
    )
    read = status_from_message(wire(fresh))
    assert (read.hold_since_ns, read.accepted_sequence, read.judged_stamp_ns, read.reason, read.initialised_from) == (0, 0, 0, "", "")


def test_names_on_the_wire() -> None:
    assert set(messages.values_by_key(wire(STATUS).status[0])) == {
        "state", "reason", "hold_since", "epoch", "epoch_stamp", "instruction", "initialised_from", "accepted_sequence", "judged_stamp",
        "rejected", "rejected_reason",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "wants", "level"),
    [
        ("INACTIVE", False, DiagnosticStatus.OK),
        ("RUN", True, DiagnosticStatus.OK),
        ("HOLD", True, DiagnosticStatus.OK),
        ("STOP", False, DiagnosticStatus.ERROR),
        ("LATCHED", False, DiagnosticStatus.ERROR),
    ],
)
def test_when_chunks_are_wanted_and_when_it_is_an_error(state: str, wants: bool, level: bytes) -> None:
    message = wire(replace(STATUS, state=state))
    assert message.status[0].level == level
    assert status_from_message(message).wants_chunks is wants


def test_foreign_messages_are_refused_not_fatal() -> None:
    missing = wire(STATUS)
    missing.status[0].values = [item for item in missing.status[0].values if item.key != "epoch"]
    garbled = wire(STATUS)
    for item in garbled.status[0].values:
        if item.key == "rejected":
            item.value = "many"
    for message in (DiagnosticArray(), missing, garbled):
        with pytest.raises(BadMessage, match="status"):
            status_from_message(message)
