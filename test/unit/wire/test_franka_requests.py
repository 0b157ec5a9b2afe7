"""JSON of the official Franka protocol: its many names, its arrays, its state."""

import base64
import json

import numpy as np
import pytest

from lawam_ros.contract.rotations import matrix_from_quat, quat_from_rpy
from lawam_ros.policies.wire import franka_http as wire
from lawam_ros.policies.wire.peer_mistake import PeerMistake

IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
RPY = np.array([0.3, -0.4, 0.5])
QUAT = np.array([0.190505913, -0.154097076, 0.268515470, 0.931590592])  # the same rotation, from the interface facts
TURN = matrix_from_quat(quat_from_rpy(RPY))


def read(**content):
    return wire.act_request(json.loads(json.dumps({"instruction": "go", "image": IMAGE.tolist()} | content)))


@pytest.mark.parametrize(
    "image",
    [
        IMAGE.tolist(),
        [IMAGE.tolist()],
        {"__ndarray__": base64.b64encode(IMAGE.tobytes()).decode(), "dtype": "uint8", "shape": [2, 4, 3]},
        {"data": IMAGE.reshape(-1).tolist(), "dtype": "|u1", "shape": [2, 4, 3]},
        {"__ndarray__": IMAGE.tolist(), "dtype": "uint8", "shape": [2, 4, 3]},
        [wire.json_array(IMAGE)],
        {"front": wire.json_array(IMAGE)},
    ],
)
@pytest.mark.parametrize("name", ["primary_image", "image", "images"])
def test_every_spelling_of_an_image_is_read(image, name):
    request = wire.act_request(json.loads(json.dumps({"instruction": "go", name: image})))
    assert len(request.primary) == 1 and np.array_equal(request.primary[0], IMAGE)


def test_of_several_images_the_first_is_primary():
    request = read(image=[IMAGE.tolist()] * 3)
    assert (len(request.primary), len(request.wrist)) == (1, 2)
    whole = wire.act_request({"image": [IMAGE.tolist()] * 3}, split_primary_wrist=False)
    assert (len(whole.primary), len(whole.wrist)) == (3, 0)
    only_wrist = wire.act_request({"wrist_images": [IMAGE.tolist()] * 2})
    assert (len(only_wrist.primary), len(only_wrist.wrist)) == (1, 1)


@pytest.mark.parametrize("name", ["instruction", "lang", "task_description", "instructions"])
def test_every_name_of_the_instruction_is_read(name):
    assert wire.act_request({"image": IMAGE.tolist(), "instruction": " ", name: "lift"}).instruction == "lift"
    assert wire.act_request({"image": IMAGE.tolist(), name: ["lift"]}).instruction == "lift"


@pytest.mark.parametrize(
    "pose",
    [
        {"position": [1, 2, 3], "rpy": RPY.tolist()},
        {"ee_position": [1, 2, 3], "ee_quat_xyzw": (2 * QUAT).tolist()},
        {"eef_position": [1, 2, 3], "quaternion": QUAT[[3, 0, 1, 2]].tolist()},
        {"ee_pose_T": [[*TURN[0], 1], [*TURN[1], 2], [*TURN[2], 3], [0, 0, 0, 1]]},
    ],
)
@pytest.mark.parametrize("container", [None, "robot_state", "observation", "obs"])
def test_every_spelling_of_a_pose_becomes_position_rpy_width(pose, container):
    pose = {**pose, "gripper_width": 0.04}
    request = read(**(pose if container is None else {container: pose}))
    np.testing.assert_allclose(request.state, [1, 2, 3, *RPY, 0.04], atol=1e-8)


def test_a_state_vector_is_taken_as_it_is_and_none_is_none():
    assert read(state=[1, 2]).state.tolist() == [1.0, 2.0]
    assert read().state is None


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"image": None}, "expected an image under"),
        ({"image": [[1, 2], [3]]}, "expected image"),
        ({"image": [[["a"]]]}, "expected image as numbers"),
        ({"image": [[[300, 0, 0]]]}, "expected image between 0 and 255"),
        ({"image": {"__ndarray__": "!", "dtype": "uint8", "shape": [1, 1, 3]}}, "expected image in base64"),
        ({"image": {"__ndarray__": "AAAA", "dtype": "uint8", "shape": [10**9, 10**9, 3]}}, "expected 3000000000000000000 bytes"),
        ({"image": {"__ndarray__": "AAAA", "dtype": "object", "shape": [1]}}, "got dtype 'object'"),
        ({"position": [1, 2, 3]}, "roll, pitch, yaw or a quaternion"),
        ({"position": [1, 2, 3], "rpy": [0, 0, 0]}, "expected the gripper's width"),
        ({"position": [1, 2], "rpy": [0, 0, 0], "gripper": 0}, "expected position as 3"),
        ({"position": [1, 2, float("nan")], "rpy": [0, 0, 0], "gripper": 0}, "expected position as 3 finite"),
        ({"position": [1, 2, 3], "quaternion": [0, 0, 0, 0], "gripper": 0}, "quaternion that is not zero"),
        ({"pose": np.zeros((4, 4)).tolist(), "gripper": 0}, "4x4 rows with a rotation"),
        ({"state": "abc"}, "expected state as numbers"),
        ({"num_inference_steps": 10**9}, "num_inference_steps as a whole number"),
    ],
)
def test_wrong_requests_are_refused_by_name(content, match):
    with pytest.raises(PeerMistake, match=match):
        read(**content)


def test_what_our_client_sends_is_read_back():
    content = wire.request_content("go", (IMAGE,), (IMAGE, IMAGE), np.array([1, 2, 3]), QUAT, 0.05)
    request = wire.act_request(wire.json_object(json.dumps(content).encode()))
    assert (request.instruction, len(request.primary), len(request.wrist)) == ("go", 1, 2)
    np.testing.assert_allclose(request.state, [1, 2, 3, *RPY, 0.05], atol=1e-8)


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"nul", b"[" * 100_000, b"\xff\xfe", b'{"a": 1}}'])
def test_bodies_that_are_no_object_are_refused(body):
    with pytest.raises(PeerMistake, match="expected a JSON object"):
        wire.json_object(body)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ({}, "the server refused: None"),
        ({"status": "error", "message": "no image"}, "the server refused: no image"),
        ({"status": "ok"}, "expected actions"),
        ({"status": "ok", "actions": [1, 2]}, r"expected actions \[n, D\]"),
        ({"status": "ok", "actions": []}, r"expected actions"),
        ({"status": "ok", "actions": [[float("inf")]]}, "expected finite actions"),
    ],
)
def test_answers_that_cannot_be_used_are_one_sentence(answer, match):
    with pytest.raises(PeerMistake, match=match):
        wire.actions_of_answer(answer)
