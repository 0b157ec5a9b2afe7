"""Bags as rosbag2 of ROS 2 Jazzy writes them, without ROS: a folder with one MCAP or sqlite3 file and metadata.yaml."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from lawam_ros.contract.errors import UserMistake

_STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_NEVER = QosTime(sec=0, nsec=0)


class BagWriter:
    """Use as a context manager: leaving it writes index and metadata. After a failure, what was written before stays readable."""

    def __init__(self, folder: Path, storage: str = "mcap", compressed: bool = False) -> None:
        """compressed: chunks of an MCAP file with zstd, which costs time that a live recording does not have.

        Raises UserMistake where the folder exists or cannot be made.
        """
        self.folder = folder
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Connection] = {}
        self.count = 0
        self.size_bytes = 0
        if folder.exists():
            raise UserMistake(f"{folder} exists already; choose another folder for the bag")
        try:
            self._writer = Writer(folder, version=9, storage_plugin=_STORAGES[storage])
            if compressed:
                self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except OSError as error:
            raise UserMistake(f"{folder}: cannot be written ({error.strerror}); choose another folder for the bag") from error

    def knows(self, type_name: str) -> bool:
        """Whether messages of this type can be written: it is one of Jazzy's own."""
        return type_name in self._types.fielddefs

    def add_topic(self, topic: str, type_name: str, latched: bool = False) -> None:
        """latched: the newest message is for those who come late, when a player plays the bag."""
        if topic not in self._connections:
            qos = [_qos(latched)]
            self._connections[topic] = self._writer.add_connection(topic, type_name, typestore=self._types, offered_qos_profiles=qos)

    def write(self, topic: str, received_ns: int, raw: bytes) -> None:
        """One serialised message of a topic that was added. Raises OSError when the disk takes no more."""
        self._writer.write(self._connections[topic], received_ns, raw)
        self.count += 1
        self.size_bytes += len(raw)

    def write_message(self, topic: str, received_ns: int, message: Any) -> None:
        """A message of ``message_class``."""
        self.write(topic, received_ns, bytes(self._types.serialize_cdr(message, self._connections[topic].msgtype)))

    def message_class(self, type_name: str) -> Any:
        """Class of a type, such as ``sensor_msgs/msg/JointState``, to build messages of without ROS; arrays are numpy's."""
        return self._types.types[type_name]

    def close(self) -> None:
        """Raises OSError when the disk takes no more; the messages stay readable then, without an index."""
        try:
            self._writer.close()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Let go of the file as it is."""
        with suppress(Exception):  # closing writes what is left, which may fail as the last write did
            self._writer.abort()

    def __enter__(self) -> "BagWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def _qos(latched: bool) -> Qos:
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    depth = 1 if latched else 10
    return Qos(QosHistory.KEEP_LAST, depth, QosReliability.RELIABLE, durability, _NEVER, _NEVER, QosLiveliness.AUTOMATIC, _NEVER, False)
