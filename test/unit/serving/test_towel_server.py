"""The towel TCP server against good, wrong and hostile peers."""

import json
import struct
import time

import numpy as np
import pytest
from fake_engine import FakeEngine, facts_of
from running_server import connected, deaf, eventually, everything, options, running, shout
from two_armed import ARMS, ROBOT, TWO_ARMED

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.rotations import quat_from_rotvec, quat_multiply
from lawam_ros.control.official_rows import official_vector, rows_of_official
from lawam_ros.observe.image import jpeg_from_rgb
from lawam_ros.serving.served_policy import ServedPolicy
from lawam_ros.serving.towel_server import TowelSpeech, towel_server

SHADES = (0, 120, 250)
JPEGS = [jpeg_from_rgb(np.full((8, 8, 3), shade, np.uint8), 95) for shade in SHADES]
STATE = {"follow1_pos": [0.1] * 7, "follow2_pos": [[9.0] * 7, [0.2] * 7]}


def served(engine, arms=None, **changes):
    policy = ServedPolicy(engine, "fake")
    return running(towel_server(policy, options(embodiment_id=31, max_request_bytes=100_000, **changes), TowelSpeech(policy, arms)))


@pytest.fixture
def engine():
    return FakeEngine(size=14, state_size=14, steps=6, low=-2.0, high=2.0)


@pytest.fixture
def port(engine):
    with served(engine) as number:
        yield number


def frame(payload):
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return struct.pack("<I", len(payload)) + payload


def act(**content):
    return frame(STATE | content) + b"".join(map(frame, JPEGS))


def answer(peer):
    def exactly(size):
        data = b""
        while len(data) < size:
            part = peer.recv(size - len(data))
            assert part, "the server ended the connection"
            data += part
        return data

    return json.loads(exactly(struct.unpack("<I", exactly(4))[0]))


def asked(port, *requests):
    with connected(port) as peer:
        answers = []
        for request in requests:
            peer.sendall(request)
            answers.append(answer(peer))
        return answers


def test_an_official_request_gets_the_official_answer(engine, port):
    (reply,) = asked(port, act(move_steps=3, num_inference_steps=4, instruction="fold"))
    assert list(reply) == [
        "status", "follow1_pos", "follow2_pos", "action_chunk_len", "model_action_chunk_len", "action_dim", "num_inference_steps",
    ]  # fmt: skip
    assert [reply[key] for key in list(reply)[3:]] == [4, 6, 14, 4]
    assert reply["follow1_pos"][0] == [0.1] * 7 and reply["follow2_pos"][0] == [0.2] * 7
    expected = 2.0 * (0.01 * np.array([1, 2, 3])[:, None] + 0.001 * np.arange(14))
    np.testing.assert_allclose(reply["follow1_pos"][1:], expected[:, :7], atol=1e-6)
    np.testing.assert_allclose(reply["follow2_pos"][1:], expected[:, 7:], atol=1e-6)
    asked_for = engine.asked[0]
    assert (asked_for.instruction, asked_for.embodiment_id, asked_for.action_hz, asked_for.steps) == ("fold", 31, 20.0, 4)
    assert asked_for.state.tolist() == [0.1] * 7 + [0.2] * 7


def test_front_is_primary_and_the_wrists_are_left_then_right(engine, port):
    asked(port, act())
    shades = [round(float(image.mean()), -1) for image in (*engine.asked[0].primary, *engine.asked[0].wrist)]
    assert shades == [120, 0, 250]
    assert engine.asked[0].instruction == "Fold the towel."


def test_one_connection_has_one_history(port):
    first, second, _, fresh = asked(port, act(move_steps=2), act(move_steps=2), frame({"request_type": "reset"}), act(move_steps=2))
    assert second["follow1_pos"][0] == first["follow1_pos"][-1]
    assert fresh["follow1_pos"][0] == [0.1] * 7
    (other,) = asked(port, act(move_steps=2))
    assert other["follow1_pos"][0] == [0.1] * 7


def test_the_other_requests(engine, port):
    health, metadata, prepared = asked(
        port, frame({"__request_type__": "health"}), frame({"request_type": "metadata"}), act(request_type="prepare")
    )
    assert health == {"status": "ok"}
    assert metadata["defaults"]["move_steps"] == 20 and metadata["lawam_ros"]["facts"] is None
    assert prepared["image_shapes"] == [[8, 8, 3]] * 3 and prepared["state"] == [0.1] * 7 + [0.2] * 7
    assert not engine.asked


def test_our_checkpoint_speaks_absolute_official_poses():
    facts = facts_of(TWO_ARMED)
    engine = FakeEngine(size=14, state_size=20, steps=6, low=-0.05, high=0.05, facts=facts)
    with served(engine, ARMS) as port:
        first, second = asked(port, act(move_steps=3), act(move_steps=3))
    measured = np.array([0.1] * 7 + [0.2] * 7)
    rows = rows_of_official(ARMS, measured[None])
    step = 0.05 * (0.01 * 1 + 0.001 * np.arange(14))
    target = rows["left"][0].copy()
    target[:3] += step[:3]
    target[3:7] = quat_multiply(quat_from_rotvec(step[3:6]), target[3:7])
    expected = official_vector(ARMS, {"left": target, "right": rows["right"][0]})
    np.testing.assert_allclose(first["follow1_pos"][1][:6], expected[:6], atol=1e-6)
    assert first["follow1_pos"][1][6] == pytest.approx(step[6] / ROBOT.arm("left").gripper.opening_per_joint, rel=1e-3)
    # The second chunk counts from what was told last, not from what is measured.
    assert second["follow1_pos"][0] == first["follow1_pos"][-1]
    assert second["follow1_pos"][1][0] > first["follow1_pos"][-1][0]
    np.testing.assert_allclose(engine.asked[0].state[:3], rows["left"][0, :3], atol=1e-9)


def test_checkpoints_of_another_size_or_robot_are_refused():
    with pytest.raises(UserMistake, match="needs 14 action components, it has 7"):
        TowelSpeech(ServedPolicy(FakeEngine(), "fake"), None)
    facts = facts_of(load_contract("franka_pick_place"))
    with pytest.raises(UserMistake, match="expected one of a two-armed robot"):
        TowelSpeech(ServedPolicy(FakeEngine(size=14, facts=facts), "fake"), None)


@pytest.mark.parametrize(
    ("request_bytes", "match"),
    [
        (act(follow1_pos=[1.0]), "expected follow1_pos as rows of 7"),
        (act(move_steps=0), "move_steps as a whole number"),
        (frame(STATE) + frame(JPEGS[0]) + frame(b"no jpeg") + frame(JPEGS[2]), "expected front image as a JPEG image"),
    ],
)
def test_a_wrong_request_gets_a_sentence_and_the_connection_goes_on(port, request_bytes, match):
    wrong, good = asked(port, request_bytes, act())
    assert wrong["status"] == "error" and match in wrong["message"]
    assert good["status"] == "ok"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (struct.pack("<I", 10**9), "got a length of 1000000000"),
        (struct.pack("<I", 2**32 - 1) + b"x", "got a length of 4294967295"),
        (struct.pack("<I", 0), "got a length of 0"),
        (b"GET / HTTP/1.1\r\n\r\n", "got a length of 542393671"),
        (frame(b"{garbage"), "expected a JSON object"),
        (frame(b"[" * 5000), "expected a JSON object"),
        (frame([1]), "expected a JSON object, got list"),
        (frame({"request_type": "shutdown"}), "expected request_type"),
        (frame({"request_type": "upload_recording", "byte_len": 10**12}), "keeps no recordings"),
        (frame(STATE) + struct.pack("<I", 10**9), "expected left wrist image of 1 to 100000 bytes, got a length of 1000000000"),
    ],
)
def test_a_hostile_request_gets_a_sentence_and_the_server_lives(port, data, match):
    with connected(port) as peer:
        peer.sendall(data)
        reply = answer(peer)
        assert reply["status"] == "error" and match in reply["message"]
        assert everything(peer) == b""
    assert asked(port, act())[0]["status"] == "ok"


@pytest.mark.parametrize("cut", [1, 3, 4, 20, 200, -1])
def test_a_disconnect_in_the_middle_is_survived(engine, port, cut):
    with connected(port) as peer:
        peer.sendall(act()[:cut])
    assert asked(port, act())[0]["status"] == "ok"
    assert len(engine.asked) == 1


def test_a_byte_now_and_then_buys_no_more_time(engine):
    with served(engine, request_timeout_s=0.6) as port, connected(port) as peer:
        reply = b""
        peer.settimeout(0.05)
        peer.sendall(struct.pack("<I", 5000))
        started = time.monotonic()
        while len(reply) < 4 and time.monotonic() - started < 30.0:
            try:
                peer.sendall(b" ")
                reply += peer.recv(4 - len(reply))
            except TimeoutError:
                continue
        assert reply, "still open"
        peer.settimeout(10.0)
        assert b"expected the whole request within 0.6 s" in everything(peer)
        assert asked(port, act())[0]["status"] == "ok"


def test_a_peer_that_reads_no_answer_does_not_keep_its_place(engine):
    speech = TowelSpeech(ServedPolicy(engine, "fake"), None)
    server = towel_server(ServedPolicy(engine, "fake"), options(connections=1, request_timeout_s=0.3), speech)
    with deaf(server) as (port, peer):
        shout(peer, 100 * frame({"request_type": "metadata"}))
        eventually(lambda: asked(port, act()))


def test_silence_ends_a_connection(engine):
    with served(engine, idle_timeout_s=0.2) as port, connected(port) as peer:
        assert everything(peer) == b""


def test_a_failing_model_gets_a_sentence(engine, port):
    engine.fails_with = RuntimeError("CUDA out of memory")
    with connected(port) as peer:
        peer.sendall(act())
        assert answer(peer)["message"].startswith("the model failed on this request (RuntimeError)")
        engine.fails_with = None
        peer.sendall(act())
        assert answer(peer)["status"] == "ok"
