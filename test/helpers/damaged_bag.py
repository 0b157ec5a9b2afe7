"""Inputs of a recording as a bad day leaves them, for whoever has to end in a report all the same."""

from pathlib import Path

from lawam_ros.data.bag_reader import Bag, BagMessage
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.data.cdr_stamp import restamped, stamp_ns

JOINTS, FRONT = "/joint_states", "/camera/front/image_raw/compressed"
TOPICS = (JOINTS, FRONT, "/camera/wrist/image_raw/compressed")
AHEAD_S, BACK_S = 60.0, 30.0


def damaged_copy(source: Path, out: Path, storage: str) -> Path:
    """In the order of the recording: a joint state later than the next one, one cut off in its stamp and one behind it, an image cut off, a
    clock that is set 60 s ahead after 1.5 s and 30 s back after 2.8 s. Without anything that only this package records.
    """
    with Bag(source) as bag, BagWriter(out, storage) as writer:
        for topic in TOPICS:
            writer.add_topic(topic, bag.topics[topic].type)
        messages = list(bag.messages(TOPICS))
        received_ns, first_ns = messages[0].received_ns, stamp_ns(messages[0].raw)
        joints = [message for message in messages if message.topic == JOINTS]
        cut = {id(joints[40]): 3, id(joints[60]): 40, id(next(m for m in messages[len(messages) // 3 :] if m.topic == FRONT)): 200}
        swap = {id(joints[80]): joints[81], id(joints[81]): joints[80]}
        for count, message in enumerate(messages):
            raw = _by_its_clock(swap.get(id(message), message), first_ns)[: cut.get(id(message))]
            writer.write(message.topic, received_ns + count * 1_000_000, raw)
    return out


def _by_its_clock(message: BagMessage, first_ns: int) -> bytes:
    at_ns = stamp_ns(message.raw)
    time_s = (at_ns - first_ns) * 1e-9
    offset_s = 0.0 if time_s < 1.5 else AHEAD_S if time_s < 2.8 else AHEAD_S - BACK_S
    return restamped(message.raw, at_ns + round(offset_s * 1e9))
