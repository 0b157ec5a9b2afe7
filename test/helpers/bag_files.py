"""Bags for tests, written as this package does and as other recorders do."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
JOINT_STATE, IMAGE, STRING = "sensor_msgs/msg/JointState", "sensor_msgs/msg/Image", "std_msgs/msg/String"
Entry = tuple[str, str, int, bytes]
"""Topic, type, time of receipt in ns, serialised message."""


def new(type_name: str, *values: Any) -> Any:
    return STORE.types[type_name](*values)


def header(stamp_ns: int) -> Any:
    return new("std_msgs/msg/Header", new("builtin_interfaces/msg/Time", stamp_ns // 10**9, stamp_ns % 10**9), "")


def raw(type_name: str, message: Any) -> bytes:
    return bytes(STORE.serialize_cdr(message, type_name))


def joints(stamp_ns: int, positions: dict[str, float]) -> bytes:
    empty = np.zeros(0)
    message = new(JOINT_STATE, header(stamp_ns), list(positions), np.array(list(positions.values())), empty, empty)
    return raw(JOINT_STATE, message)


def image(stamp_ns: int, pixels: np.ndarray) -> bytes:
    height, width, _ = pixels.shape
    message = new(IMAGE, header(stamp_ns), height, width, "rgb8", 0, 3 * width, np.ascontiguousarray(pixels).reshape(-1))
    return raw(IMAGE, message)


def string(text: str) -> bytes:
    return raw(STRING, new(STRING, text))


def old_sqlite3(folder: Path, entries: Iterable[Entry]) -> Path:
    """A bag as the recorder of ROS 2 Foxy leaves it: metadata of version 4, no message definitions."""
    folder.mkdir()
    entries = list(entries)
    names = {topic: type_name for topic, type_name, _, _ in entries}
    with sqlite3.connect(folder / f"{folder.name}_0.db3") as base:
        base.execute(
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, serialization_format TEXT NOT NULL, "
            "offered_qos_profiles TEXT NOT NULL)"
        )
        base.execute(
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, data BLOB NOT NULL)"
        )
        for number, (topic, type_name) in enumerate(names.items(), start=1):
            base.execute("INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')", (number, topic, type_name))
        order = list(names)
        for topic, _, received_ns, data in entries:
            row = (order.index(topic) + 1, received_ns, data)
            base.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", row)
    base.close()
    times = [received_ns for _, _, received_ns, _ in entries]
    lines = [
        "rosbag2_bagfile_information:",
        "  version: 4",
        "  storage_identifier: sqlite3",
        f"  relative_file_paths: [{folder.name}_0.db3]",
        f"  duration: {{nanoseconds: {max(times) - min(times)}}}",
        f"  starting_time: {{nanoseconds_since_epoch: {min(times)}}}",
        f"  message_count: {len(entries)}",
        "  topics_with_message_count:",
    ]
    for topic, type_name in names.items():
        count = sum(entry[0] == topic for entry in entries)
        lines.append(
            f"    - {{topic_metadata: {{name: {topic}, type: {type_name}, serialization_format: cdr, offered_qos_profiles: ''}}, "
            f"message_count: {count}}}"
        )
    lines += ["  compression_format: ''", "  compression_mode: ''"]
    (folder / "metadata.yaml").write_text("\n".join(lines) + "\n")
    return folder


def foreign_mcap(path: Path, entries: Iterable[Entry], chunked: bool = True, finish: bool = True) -> Path:
    """One MCAP file as other programs write it: another profile, any order; without chunks it has no index."""
    index = IndexType.ALL if chunked else IndexType.NONE
    with path.open("wb") as file:
        writer = McapWriter(file, compression=CompressionType.ZSTD, use_chunking=chunked, index_types=index, chunk_size=4096)
        writer.start(profile="", library="another recorder")
        channels: dict[str, int] = {}
        for topic, type_name, received_ns, data in entries:
            if topic not in channels:
                text, _ = STORE.generate_msgdef(type_name, ros_version=2)
                schema = writer.register_schema(type_name, "ros2msg", text.encode())
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            writer.add_message(channels[topic], received_ns, data, received_ns)
        if finish:
            writer.finish()
    return path
