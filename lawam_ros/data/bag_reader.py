"""Bags of rosbag2 without ROS, by whatever software: MCAP and sqlite3, a folder or a single file, whole or cut off."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mcap.exceptions import McapError
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.wire import BadMessage

SUFFIXES = (".mcap", ".db3")
_HEADER = "std_msgs/msg/Header"


@dataclass(frozen=True)
class Topic:
    """A topic of a bag; ``type`` as in ``sensor_msgs/msg/Image``."""

    name: str
    type: str
    count: int


class BagMessage(NamedTuple):
    """received_ns: when the recorder got it; raw: its bytes on the wire (CDR)."""

    topic: str
    type: str
    received_ns: int
    raw: bytes


class Bag:
    """Use as a context manager. topics: by name. problems: what is wrong with the file, in words; it grows while messages are read."""

    def __init__(self, path: Path) -> None:
        """Raises UserMistake where there is no bag, or nothing of it can be read."""
        self.path = path
        self.problems: list[str] = []
        self._stack = ExitStack()
        self._parts = self._open_all(path)
        self._types = _type_store([found for part in self._parts for found in part.definitions])
        self.topics: dict[str, Topic] = {}
        for topic in (topic for part in self._parts for topic in part.topics):
            before = self.topics.get(topic.name)
            self.topics[topic.name] = Topic(topic.name, topic.type, topic.count + (before.count if before else 0))

    def __enter__(self) -> "Bag":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def messages(self, topics: Collection[str] | None = None, since_ns: int | None = None) -> Iterator[BagMessage]:
        """Messages of these topics (default: all) as received, from ``since_ns`` on.

        Ends early where the file is damaged, and says so in ``problems``.
        """
        for part in self._parts:
            count = 0
            try:
                for message in part.messages(topics, since_ns):
                    yield message
                    count += 1
            except Exception as error:  # the libraries fail in many ways on damaged bytes; what came before them is good
                self.problems.append(f"{self.path.name} is damaged after {count} messages: {_words(error)}")

    def decode(self, message: BagMessage) -> Any:
        """The message with the fields of its type, arrays as numpy. Raises BadMessage for bytes that are not one."""
        try:
            return self._types.deserialize_cdr(message.raw, message.type)
        except Exception as error:  # as above: anything may come out of damaged bytes
            raise BadMessage(f"{message.topic}: {len(message.raw)} bytes are no {message.type}: {_words(error)}") from error

    def is_stamped(self, type_name: str) -> bool:
        """Whether messages of this type begin with a stamp (``data/cdr_stamp.py``)."""
        if type_name == _HEADER:
            return True
        fields = self._types.fielddefs[type_name][1] if type_name in self._types.fielddefs else []
        return bool(fields) and fields[0][0] == "header" and fields[0][1][1] == _HEADER

    def _open_all(self, path: Path) -> "list[_Indexed | _Streamed]":
        """The folder where its metadata are good, else its files."""
        if (path / "metadata.yaml").is_file():
            try:
                return [_Indexed(self._stack.enter_context(Reader(path)))]
            except Exception as error:
                self.problems.append(f"{path.name}: {_words(error)}; its files are read one by one")
        parts = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
        parts = [part for part in parts if part.suffix in SUFFIXES]
        if not parts:
            raise UserMistake(f"expected a bag (a folder with metadata.yaml, or a file {' or '.join(SUFFIXES)}), got {path}")
        return [self._open(part) for part in parts]

    def _open(self, path: Path) -> "_Indexed | _Streamed":
        try:
            return _Indexed(self._stack.enter_context(Reader(path)))
        except Exception as error:
            streamed = _Streamed(path) if path.suffix == ".mcap" else None
            if streamed is None or not streamed.topics:
                raise UserMistake(f"{path}: not a readable bag ({_words(error)})") from error
            self.problems.append(f"{path.name} has no usable index ({_words(error)}); read from its beginning")
            return streamed


def is_bag(path: Path) -> bool:
    """Whether this is a file of a bag, or a folder with one; nothing is opened."""
    parts = [path] if path.is_file() else list(path.iterdir()) if path.is_dir() else []
    return any(part.suffix in SUFFIXES for part in parts)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


class _Indexed:
    """A whole bag, through rosbags; messages in the order of their receipt."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.topics = [Topic(one.topic, one.msgtype, one.msgcount) for one in reader.connections]
        self.definitions = [
            (one.msgtype, one.msgdef.format is MessageDefinitionFormat.IDL, one.msgdef.data)
            for one in reader.connections
            if one.msgdef.format is not MessageDefinitionFormat.NONE
        ]

    def messages(self, topics: Collection[str] | None, since_ns: int | None) -> Iterator[BagMessage]:
        wanted = [one for one in self._reader.connections if topics is None or one.topic in topics]
        if wanted:
            for connection, received_ns, raw in self._reader.messages(wanted, start=since_ns):
                yield BagMessage(connection.topic, connection.msgtype, received_ns, bytes(raw))


class _Streamed:
    """An MCAP file without a usable index, through mcap: a recording that was killed or cut off, or of a program that writes none.

    Messages in the order of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        counts: dict[tuple[str, str], int] = {}
        schemas: dict[str, Schema] = {}
        try:
            for channel, schema, _ in self._records():
                counts[channel.topic, schema.name] = counts.get((channel.topic, schema.name), 0) + 1
                schemas[schema.name] = schema
        except Exception:  # said again, to whoever reads the messages
            pass
        self.topics = [Topic(topic, type_name, count) for (topic, type_name), count in counts.items()]
        self.definitions = [(name, schema.encoding != "ros2msg", schema.data.decode(errors="replace")) for name, schema in schemas.items()]

    def messages(self, topics: Collection[str] | None, since_ns: int | None) -> Iterator[BagMessage]:
        for channel, schema, message in self._records():
            if (topics is None or channel.topic in topics) and (since_ns is None or message.log_time >= since_ns):
                yield BagMessage(channel.topic, schema.name, message.log_time, message.data)

    def _records(self) -> Iterator[tuple[Channel, Schema, Message]]:
        channels: dict[int, Channel] = {}
        schemas: dict[int, Schema] = {}
        with self._path.open("rb") as file:
            for record in StreamReader(file).records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    channel = channels[record.channel_id]
                    if channel.message_encoding != "cdr":
                        raise McapError(f"expected messages in cdr, {channel.topic} has {channel.message_encoding}")
                    yield channel, schemas[channel.schema_id], record


def _type_store(definitions: list[tuple[str, bool, str]]) -> Any:
    """Types of Jazzy, and those a bag defines (name, whether as IDL, text): its own word on a type goes first."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = dict(store.fielddefs)
    for name, is_idl, text in dict.fromkeys(definitions):
        try:
            types |= get_types_from_idl(text) if is_idl else get_types_from_msg(text, name)
        except Exception:  # a definition nobody can read: its messages will not decode, which is said of each
            continue
    if types != store.fielddefs:
        store = get_typestore(Stores.EMPTY)
        store.register(types)
    return store
