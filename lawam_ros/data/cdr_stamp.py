"""The stamp at the beginning of a serialised message: read and replaced without decoding the rest."""

import struct

from lawam_ros.contract.wire import BadMessage

_START = 4
"""Bytes of the encapsulation header; its second one tells the byte order. Then come seconds (int32) and nanoseconds (uint32)."""
_SIZE = 8


def stamp_ns(raw: bytes) -> int:
    """Stamp in ns of a message that begins with a Header or a Time. Raises BadMessage where there are too few bytes."""
    if len(raw) < _START + _SIZE:
        raise BadMessage(f"expected at least {_START + _SIZE} bytes of a stamped message, got {len(raw)}")
    seconds, nanoseconds = struct.unpack_from(_format(raw), raw, _START)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def restamped(raw: bytes, stamp_ns: int) -> bytes:
    """The same message with another stamp."""
    stamp = struct.pack(_format(raw), stamp_ns // 1_000_000_000, stamp_ns % 1_000_000_000)
    return raw[:_START] + stamp + raw[_START + _SIZE :]


def _format(raw: bytes) -> str:
    return "<iI" if raw[1] & 1 else ">iI"
