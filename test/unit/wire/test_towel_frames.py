"""Frames of the official towel protocol, byte for byte."""

import io
import json

import numpy as np
import pytest

from lawam_ros.policies.wire import towel_tcp as wire
from lawam_ros.policies.wire.peer_mistake import PeerMistake

IMAGES = [np.full((8, 8, 3), shade, np.uint8) for shade in (0, 120, 250)]


def reader(data):
    stream = io.BytesIO(data)

    def read(size):
        part = stream.read(size)
        if len(part) < size:
            raise EOFError
        return part

    return read


def test_a_frame_is_a_little_endian_length_and_its_bytes():
    assert wire.framed(b"abc") == b"\x03\x00\x00\x00abc"
    assert wire.json_frame({"request_type": "health"}) == b'\x1a\x00\x00\x00{"request_type": "health"}'
    assert wire.read_frame(reader(b"\x02\x01\x00\x00" + bytes(258)), 300, "x") == bytes(258)


def test_the_images_come_left_wrist_front_right_wrist():
    left, front, right = IMAGES
    data = wire.request_frames({"a": 1}, left=left, front=front, right=right)
    read = reader(data)
    assert json.loads(wire.read_frame(read, 100, "x")) == {"a": 1}
    jpegs = wire.jpeg_frames(read)
    assert [jpeg[:2] for jpeg in jpegs] == [b"\xff\xd8"] * 3
    from lawam_ros.policies.wire.images import rgb_from_jpeg

    assert [round(float(rgb_from_jpeg(jpeg, "x").mean()), -1) for jpeg in jpegs] == [0, 120, 250]


@pytest.mark.parametrize("length", [0, 101, 10**9, 2**32 - 1])
def test_lengths_are_refused_before_anything_is_read(length):
    with pytest.raises(PeerMistake, match=f"expected x of 1 to 100 bytes, got a length of {length}"):
        wire.read_frame(reader(length.to_bytes(4, "little")), 100, "x")


@pytest.mark.parametrize("name", ["request_type", "__request_type__"])
def test_the_kind_of_a_request(name):
    assert wire.request_kind({name: "reset"}) == "reset"
    assert wire.request_kind({}) == "act"
    for wrong in ("shutdown", None, ["act"]):
        with pytest.raises(PeerMistake, match="expected request_type"):
            wire.request_kind({name: wrong})


def test_of_a_history_the_newest_row_counts():
    request = wire.towel_request({"follow1_pos": [[9.0] * 7, [1.0] * 7], "follow2_pos": [2.0] * 7, "prompt": " fold "}, 20.0, 20)
    assert request.state.tolist() == [1.0] * 7 + [2.0] * 7
    assert (request.instruction, request.action_hz, request.move_steps) == ("fold", 20.0, 20)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"follow1_pos": None}, "expected follow1_pos"),
        ({"follow2_pos": [1.0] * 6}, "expected follow2_pos as rows of 7"),
        ({"follow1_pos": [[]]}, "expected follow1_pos as rows of 7"),
        ({"follow1_pos": []}, "expected follow1_pos as rows of 7"),
        ({"follow1_pos": [float("nan")] * 7}, "finite"),
        ({"move_steps": 0}, "move_steps as a whole number"),
        ({"move_steps": 10**9}, "move_steps as a whole number"),
        ({"action_hz": "20"}, "action_hz between"),
        ({"instruction": ["x"]}, "instruction as a text"),
    ],
)
def test_wrong_requests_are_refused_by_name(change, match):
    with pytest.raises(PeerMistake, match=match):
        wire.towel_request({"follow1_pos": [1.0] * 7, "follow2_pos": [1.0] * 7} | change, 20.0, 20)


def test_an_answer_has_a_row_more_and_our_client_drops_it():
    rows = np.arange(3 * 14, dtype=float).reshape(3, 14)
    content = wire.answer_content(rows, 24, 10)
    assert (content["action_chunk_len"], content["model_action_chunk_len"], content["action_dim"]) == (3, 24, 14)
    assert len(content["follow1_pos"]) == 3 and content["follow2_pos"][0] == rows[0, 7:].tolist()
    assert np.array_equal(wire.rows_of_answer(content), rows[1:])


@pytest.mark.parametrize(
    "change",
    [
        {"status": "error", "message": "no"},
        {"follow2_pos": [[0.0] * 7]},
        {"follow1_pos": [[0.0] * 7], "follow2_pos": [[0.0] * 7]},
        {"follow1_pos": [[float("inf")] * 7] * 3},
        {"follow1_pos": [[0.0] * 7] * 600, "follow2_pos": [[0.0] * 7] * 600},
    ],
)
def test_answers_that_cannot_be_used_are_one_sentence(change):
    content = wire.answer_content(np.zeros((3, 14)), 24, 10)
    with pytest.raises(PeerMistake, match="expected|refused"):
        wire.rows_of_answer(content | change)
