"""msgpack in the dialect of the official websocket server: numpy arrays and scalars are maps with byte keys. Nothing is unpickled."""

from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from lawam_ros.policies.wire.peer_mistake import PeerMistake

_NUMBERS = "biuf"
_MAX_ITEM_BYTES = 8


def packed(value: Any) -> bytes:
    """msgpack of maps, lists, texts, numbers, bytes and numpy values. TypeError for what the dialect lacks, such as complex arrays."""
    return bytes(msgpack.packb(value, default=_array_map))


def unpacked(data: bytes) -> Any:
    """The value of one message; arrays are read-only views of ``data``. Raises PeerMistake."""
    try:
        return msgpack.unpackb(data, object_hook=_from_array_map)
    except PeerMistake:
        raise
    except (msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise PeerMistake(f"expected one msgpack message, got {len(data)} bytes that are none ({error or type(error).__name__})") from error


def number_dtype(text: Any) -> "np.dtype[Any]":
    """dtype of a text such as ``<f4``: booleans, integers and floats of up to 8 bytes. Raises PeerMistake."""
    text = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    try:
        dtype = np.dtype(text) if isinstance(text, str) else None
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None or dtype.kind not in _NUMBERS or dtype.itemsize > _MAX_ITEM_BYTES:
        raise PeerMistake(f"expected an array of numbers or truth values, got dtype {text!r}")
    return dtype


def shaped(data: bytes, dtype: "np.dtype[Any]", shape: Any) -> NDArray[Any]:
    """Array of raw bytes in C order. Raises PeerMistake unless the bytes are exactly those of the shape."""
    if not isinstance(shape, list | tuple) or not all(isinstance(n, int) and n >= 0 for n in shape) or len(shape) > 8:
        raise PeerMistake(f"expected a shape of up to 8 sizes, got {shape!r}")
    wanted = dtype.itemsize
    for size in shape:
        wanted *= size
    if not isinstance(data, bytes) or len(data) != wanted:
        came = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise PeerMistake(f"expected {wanted} bytes for an array of {dtype.str} {list(shape)}, got {came}")
    return np.frombuffer(data, dtype).reshape(tuple(shape))


def _array_map(value: Any) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in _NUMBERS + "US":
        raise TypeError(f"expected numbers, truth values or texts, got dtype {value.dtype}")
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": list(value.shape)}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"expected values that msgpack knows or numpy arrays, got {type(value).__name__}")


def _from_array_map(entry: dict[Any, Any]) -> Any:
    if b"__ndarray__" in entry:
        return shaped(entry.get(b"data", b""), number_dtype(entry.get(b"dtype")), entry.get(b"shape"))
    if b"__npgeneric__" in entry:
        value = entry.get(b"data")
        if not isinstance(value, bool | int | float):
            raise PeerMistake(f"expected a number as numpy scalar, got {type(value).__name__}")
        try:
            return number_dtype(entry.get(b"dtype")).type(value)
        except (OverflowError, ValueError) as error:
            raise PeerMistake(f"expected a number of dtype {entry.get(b'dtype')!r}, got {value!r}") from error
    return entry
