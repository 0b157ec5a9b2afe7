"""msgpack with arrays, byte for byte as the official clients write it."""

import msgpack
import numpy as np
import pytest

from lawam_ros.policies.wire.array_maps import packed, unpacked
from lawam_ros.policies.wire.peer_mistake import PeerMistake

KEYS = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2]}


def test_an_array_is_these_bytes():
    by_hand = (
        b"\x81" + b"\xa1a"  # map of one, text "a"
        b"\x84" + b"\xc4\x0b__ndarray__" + b"\xc3"  # map of four: bytes key, true
        b"\xc4\x04data" + b"\xc4\x08" + np.array([1.0, -2.0], "<f4").tobytes()  # bytes key, 8 bytes
        + b"\xc4\x05dtype" + b"\xa3<f4"  # bytes key, text
        b"\xc4\x05shape" + b"\x92\x01\x02"  # bytes key, list of two
    )  # fmt: skip
    value = {"a": np.array([[1.0, -2.0]], np.float32)}
    assert packed(value) == by_hand
    read = unpacked(by_hand)["a"]
    assert read.dtype == np.float32 and read.tolist() == [[1.0, -2.0]]
    assert not read.flags.writeable


def test_a_scalar_is_these_bytes():
    by_hand = b"\x83\xc4\x0d__npgeneric__\xc3\xc4\x04data\x07\xc4\x05dtype\xa3<i4"
    assert packed(np.int32(7)) == by_hand
    assert unpacked(by_hand) == 7 and unpacked(by_hand).dtype == np.int32


@pytest.mark.parametrize("dtype", ["|u1", "<i2", "<u8", "<f2", "<f4", "<f8", "|b1"])
def test_arrays_of_numbers_come_back(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    read = unpacked(packed(array))
    assert read.dtype == array.dtype and np.array_equal(read, array)
    turned = unpacked(packed(array.T))
    assert np.array_equal(turned, array.T)


@pytest.mark.parametrize("array", [np.array([1j]), np.array([object()]), np.zeros(2, "i4,i4"), {1, 2}])
def test_what_the_dialect_lacks_is_not_written(array):
    with pytest.raises(TypeError, match="expected"):
        packed(array)


@pytest.mark.parametrize("dtype", ["|O", "|V8", "<c8", "<U3", "i4,i4", "<f16", "", "(10000000,)f8", None, 3, b"|O"])
def test_dtypes_that_are_no_numbers_are_refused(dtype):
    with pytest.raises(PeerMistake, match="expected an array of numbers or truth values, got dtype"):
        unpacked(msgpack.packb({**KEYS, b"dtype": dtype}))


@pytest.mark.parametrize("shape", [[3], [10**9], [2**62, 4], [-1, -2], [2, 1.0], None, "2", [1] * 9 + [2]])
def test_shapes_that_do_not_fit_the_bytes_are_refused(shape):
    with pytest.raises(PeerMistake, match="expected"):
        unpacked(msgpack.packb({**KEYS, b"shape": shape}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x81\xa1",
        b"\xdd\x3b\x9a\xca\x00",  # a list of 10^9 and nothing in it
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\x3b\x9a\xca\x00abc",  # 10^9 bytes announced, three there
        b"\x91" * 3000 + b"\x01",
        b"\x01\x02",
        b"\x81\x01\x02",
        packed({b"__npgeneric__": True, b"data": "x", b"dtype": "<i4"}),
        packed({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}),
        b"\xa2\xff\xff",
    ],
)
def test_garbage_is_one_sentence(data):
    with pytest.raises(PeerMistake, match="^expected "):
        unpacked(data)
