"""Maps of the official websocket protocol."""

import numpy as np
import pytest

from lawam_ros.policies.wire import websocket_messages as wire
from lawam_ros.policies.wire.array_maps import packed, unpacked
from lawam_ros.policies.wire.peer_mistake import PeerMistake

IMAGE = np.zeros((4, 6, 3), np.uint8)
EXAMPLE = {"lang": "fold", "primary_image": [IMAGE], "action_hz": 20.0, "embodiment_id": 25}


def refused(message, match):
    with pytest.raises(PeerMistake, match=match):
        wire.request_from_map(message)


def test_our_request_is_the_bare_map_that_official_servers_accept():
    example = wire.Example("fold", (IMAGE,), (IMAGE, IMAGE), 20.0, 31, np.array([0.5, -0.5]))
    sent = unpacked(packed(wire.request_map(example, True)))
    assert set(sent) == {"examples", "return_intermediates"}
    assert set(sent["examples"][0]) == {"lang", "primary_image", "action_hz", "embodiment_id", "wrist_image", "state"}
    read = wire.request_from_map(sent).examples[0]
    assert (read.lang, read.action_hz, read.embodiment_id) == ("fold", 20.0, 31)
    assert len(read.primary) == 1 and len(read.wrist) == 2 and read.state.tolist() == [0.5, -0.5]


def test_absent_parts_are_not_sent():
    sent = wire.request_map(wire.Example("fold", (IMAGE,), (), 20.0, 31), False)
    assert set(sent["examples"][0]) == {"lang", "primary_image", "action_hz", "embodiment_id"}


def test_extra_keys_of_official_clients_are_tolerated_and_others_named():
    assert wire.request_from_map({"examples": [EXAMPLE], "type": "infer", "request_id": "7"}).guidance_scale is None
    refused({"examples": [EXAMPLE], "seed": 3}, "got the unknown key 'seed'")
    refused({"examples": [{**EXAMPLE, "depth": IMAGE}]}, "got the unknown key 'depth'")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"lang": " "}, "non-empty text"),
        ({"lang": 3}, "non-empty text"),
        ({"primary_image": []}, "at least one primary_image"),
        ({"primary_image": [IMAGE] * 9}, "up to 8 images"),
        ({"primary_image": [IMAGE.astype(np.float32)]}, r"primary_image\[0\] as a uint8 image"),
        ({"primary_image": IMAGE}, "primary_image as a list"),
        ({"action_hz": 0}, "action_hz between"),
        ({"action_hz": float("nan")}, "action_hz between"),
        ({"action_hz": True}, "action_hz between"),
        ({"embodiment_id": -1}, "embodiment_id as a whole number"),
        ({"embodiment_id": 10**40}, "embodiment_id as a whole number"),
        ({"state": "x"}, "expected state as numbers"),
        ({"state": np.array([np.nan])}, "finite state"),
        ({"state": np.zeros((1, 2, 3))}, r"expected state \[D\]"),
        ({"state_mask": np.ones(3)}, "state_mask only together with state"),
        ({"state": np.zeros(3), "state_mask": np.ones(2)}, "state_mask of 0 and 1"),
    ],
)
def test_wrong_examples_are_refused_by_name(change, match):
    refused({"examples": [{**EXAMPLE, **change}]}, match)


def test_a_padded_state_loses_its_padding_and_only_the_last_row_counts():
    state, mask = np.array([[9.0, 9, 9], [1, 2, 0]]), np.array([1, 1, 0])
    assert wire.example_from_map({**EXAMPLE, "state": state, "state_mask": mask}).state.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("message", [{}, {"examples": []}, {"examples": 3}, {"examples": [3]}, {"examples": [EXAMPLE] * 9}])
def test_requests_without_examples_are_refused(message):
    refused(message, "expected")


@pytest.mark.parametrize(("message", "kind"), [({"type": "ping"}, "ping"), ({}, "infer"), ({"type": "predict_action"}, "infer")])
def test_the_type_decides(message, kind):
    assert wire.request_type(message) == kind


@pytest.mark.parametrize("message", [[], None, 7, {"type": "shutdown"}, {"type": ["ping"]}])
def test_other_types_are_refused(message):
    with pytest.raises(PeerMistake, match="expected"):
        wire.request_type(message)


def test_answers_are_these_maps():
    actions = np.zeros((4, 32), np.float32)
    data = wire.result_map([actions], [(np.zeros((6, 5)), np.ones((6, 5)))], (2, 3))
    sent = wire.ok_map("inference_result", None, data)
    assert list(sent) == ["status", "ok", "type", "request_id", "data"]
    assert (sent["status"], sent["ok"], sent["type"], sent["request_id"]) == ("ok", True, "inference_result", "default")
    assert data["normalized_actions"].shape == (1, 4, 32) and data["h_t1_pred"].dtype == np.float32
    read = wire.answer_from_bytes(packed(sent))
    assert read.normalised_actions.shape == (4, 32) and read.grid_hw == (2, 3) and read.h_t1.sum() == 30
    assert wire.ok_map("ping", "a") == {"status": "ok", "ok": True, "type": "ping", "request_id": "a"}


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ("Traceback\n  ...\nValueError: no", "the server failed: ValueError: no"),
        (packed([1]), "expected an answer as a map"),
        (packed(wire.error_map("no such key")), "the server refused: no such key"),
        (packed({"status": "ok", "data": 3}), "the server refused"),
        (packed(wire.ok_map("inference_result", None, {})), "expected normalized_actions"),
        (packed(wire.ok_map("inference_result", None, {"normalized_actions": np.zeros((1, 600, 7), np.float32)})), "expected normalized"),
        (packed(wire.ok_map("inference_result", None, {"normalized_actions": np.full((1, 3, 7), np.nan)})), "expected finite"),
        (packed(wire.ok_map("inference_result", None, {"normalized_actions": [[["x"]]]})), "expected normalized_actions"),
        (packed(wire.ok_map("x", None, wire.result_map([np.zeros((2, 7))], [(np.zeros((5, 5)),) * 2], (2, 3)))), "expected features"),
        (b"\xc1garbage", "expected one msgpack message"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_used_are_one_sentence(answer, match):
    with pytest.raises(PeerMistake, match=match):
        wire.answer_from_bytes(answer)
