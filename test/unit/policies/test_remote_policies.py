"""Our policy interface driven from our own servers: what arrives in a chunk is what the checkpoint behind the server said."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fake_engine import FEATURES, FakeEngine, facts_of
from running_server import TOKEN, options, running
from two_armed import ARMS, ROBOT, TWO_ARMED

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import Observation, Pose
from lawam_ros.contract.rotations import quat_from_rpy
from lawam_ros.control.official_rows import official_vector, rows_of_official
from lawam_ros.data.action_space import absolute_from_relative, state_vector
from lawam_ros.model.normalisation import denormalise_actions
from lawam_ros.policies.choose import choose_policy
from lawam_ros.policies.made_up import made_up_observation
from lawam_ros.policies.remote.server_facts import ServerSilent
from lawam_ros.serving.franka_server import franka_server
from lawam_ros.serving.served_policy import ServedPolicy
from lawam_ros.serving.towel_server import TowelSpeech, towel_server
from lawam_ros.serving.websocket_server import websocket_server

FRANKA = load_contract("franka_pick_place")
QUAT = quat_from_rpy(np.array([3.0, 0.1, -0.4]))
REFERENCE = {"arm": np.array([0.5, 0.1, 0.3, *QUAT, 0.05])}


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("LAWAM_TOKEN", raising=False)


def observation(contract, stamp_ns=7):
    pose = Pose(np.array([0.4, 0.1, 0.2]), QUAT)
    arms = [arm.name for arm in contract.robot.arms]
    return replace(made_up_observation(contract), stamp_ns=stamp_ns, tcp=dict.fromkeys(arms, pose), gripper_m=dict.fromkeys(arms, 0.04))


def ours(contract=FRANKA, **changes):
    return FakeEngine(facts=facts_of(contract, **changes), state_size=10, low=-0.1, high=0.3)


def websocket(engine, **changes):
    return running(websocket_server(ServedPolicy(engine, "fake"), options(**changes)))


def franka(engine, **changes):
    return running(franka_server(ServedPolicy(engine, "fake"), options(**changes)))


def placed(policy, contract=FRANKA, reference=REFERENCE):
    inference = policy.look(observation(contract), seed=0)
    return inference, policy.place(inference, reference)


@pytest.mark.parametrize(("serve", "scheme"), [(websocket, "ws"), (franka, "http")])
def test_a_checkpoint_of_ours_is_placed_on_the_commanded_pose(serve, scheme):
    engine = ours()
    with serve(engine) as port:
        policy = choose_policy(f"{scheme}://127.0.0.1:{port}", FRANKA, "cpu")
        policy.warm_up()
        inference, targets = placed(policy)
    assert policy.description == f"fake on {scheme}://127.0.0.1:{port}"
    normalised = (0.01 * (np.arange(4) + 1)[:, None] + 0.001 * np.arange(7)).astype(np.float32)
    actions = denormalise_actions(normalised, engine.statistics.action, "min_max")
    np.testing.assert_allclose(inference.actions, actions, atol=1e-7)
    expected = absolute_from_relative(actions.astype(float), REFERENCE["arm"], FRANKA.task.policy.action)
    np.testing.assert_allclose(targets.values, expected, atol=1e-7)
    assert targets.components[0] == "arm/x" and targets.time_from_start_s == pytest.approx([0.05, 0.1, 0.15, 0.2])
    asked = engine.asked[-1]
    expected_state = state_vector(Pose(np.array([0.4, 0.1, 0.2]), QUAT), 0.04, FRANKA.task.policy.state)
    np.testing.assert_allclose(asked.state, expected_state, atol=2e-7)
    assert (asked.instruction, asked.action_hz, asked.embodiment_id) == (FRANKA.task.instruction, 20.0, 25)
    assert (len(asked.primary), len(asked.wrist), asked.primary[0].shape) == (1, 1, (240, 320, 3))


def test_the_websocket_brings_the_subgoal_too():
    with websocket(ours()) as port:
        policy = choose_policy(f"ws://127.0.0.1:{port}", FRANKA, "cpu")
        policy.warm_up()
        subgoal = placed(policy)[0].subgoal
    assert (subgoal.stamp_ns, subgoal.camera, subgoal.grid_hw) == (7, "front", (2, 3))
    assert subgoal.predicted.shape == (6, FEATURES) and np.all(subgoal.predicted - subgoal.current == 1.0)


@pytest.mark.parametrize("serve", [websocket, franka])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"action_hz": 10.0}, "trained with 10.0, the task asks for 20.0"),
        ({"action": ("translation_chunk_relative",)}, "action: trained with"),
        ({"embodiment_id": 3}, "embodiment id: trained with 3"),
    ],
)
def test_a_checkpoint_made_for_another_contract_is_refused(serve, change, match):
    with serve(ours(**change)) as port:
        policy = choose_policy(f"{'ws' if serve is websocket else 'http'}://127.0.0.1:{port}", FRANKA, "cpu")
        with pytest.raises(UserMistake, match=match):
            policy.warm_up()


def test_a_server_at_another_rate_is_refused():
    with franka(ours(), action_hz=5.0) as port, pytest.raises(UserMistake, match="runs at 5.0 Hz, the task asks for 20 Hz"):
        choose_policy(f"http://127.0.0.1:{port}", FRANKA, "cpu").warm_up()


@pytest.mark.parametrize(("serve", "scheme"), [(websocket, "ws"), (franka, "http")])
def test_an_official_server_is_refused_until_its_address_says_what_actions_mean(serve, scheme):
    with serve(FakeEngine(uses_state=False)) as port:
        with pytest.raises(UserMistake, match="does not say what its actions mean"):
            choose_policy(f"{scheme}://127.0.0.1:{port}", FRANKA, "cpu").warm_up()
        policy = choose_policy(f"{scheme}://127.0.0.1:{port}?actions=step_rotvec&gripper=opening_m", FRANKA, "cpu")
        policy.warm_up()
        inference, targets = placed(policy)
    np.testing.assert_allclose(inference.actions[0], 0.01 + 0.001 * np.arange(7), atol=1e-6)
    np.testing.assert_allclose(targets.values[:, :3], REFERENCE["arm"][:3] + np.cumsum(inference.actions[:, :3], axis=0))


def test_an_official_websocket_server_needs_statistics_and_libero_snaps_its_gripper(tmp_path):
    engine = FakeEngine(uses_state=False, low=-1.0, high=1.0)
    policy = ServedPolicy(engine, "fake")
    policy.metadata = lambda: None  # an official server says nothing about its checkpoint
    with running(websocket_server(policy, options())) as port:
        with pytest.raises(UserMistake, match=r"expected \?statistics= in its address"):
            choose_policy(f"ws://127.0.0.1:{port}?actions=libero", FRANKA, "cpu").warm_up()
        entry = {"min": [-2.0] * 7, "max": [2.0] * 7, "mask": [True] * 6 + [False]}
        (tmp_path / "dataset_statistics.json").write_text(json.dumps({"franka": {"action": entry}}))
        remote = choose_policy(f"ws://127.0.0.1:{port}?actions=libero&statistics={tmp_path}", FRANKA, "cpu")
        remote.warm_up()
        inference, targets = placed(remote)
    assert remote.description == f"fake on ws://127.0.0.1:{port}, actions=libero"
    np.testing.assert_allclose(inference.actions[0, :6], 2.0 * (0.01 + 0.001 * np.arange(6)), atol=1e-6)
    assert np.all(inference.actions[:, 6] == 0.0) and np.all(targets.values[:, 7] == FRANKA.robot.arms[0].gripper.opening_max_m)


@pytest.mark.parametrize(("serve", "scheme"), [(websocket, "ws"), (franka, "http")])
def test_the_token_comes_from_the_environment(serve, scheme, monkeypatch):
    with serve(ours(), token=TOKEN) as port:
        with pytest.raises(UserMistake, match="wants a token; expected its own in the variable LAWAM_TOKEN"):
            choose_policy(f"{scheme}://127.0.0.1:{port}", FRANKA, "cpu").warm_up()
        monkeypatch.setenv("LAWAM_TOKEN", TOKEN)
        choose_policy(f"{scheme}://127.0.0.1:{port}", FRANKA, "cpu").warm_up()


def towel(engine, arms=None):
    policy = ServedPolicy(engine, "fake")
    return running(towel_server(policy, options(embodiment_id=31), TowelSpeech(policy, arms)))


def test_a_towel_server_moves_both_arms_in_their_own_frames():
    engine = FakeEngine(size=14, state_size=14, steps=40, low=-1.0, high=1.0)
    with towel(engine) as port:
        policy = choose_policy(f"tcp://127.0.0.1:{port}", TWO_ARMED, "cpu")
        policy.warm_up()
        reference = dict.fromkeys(("left", "right"), REFERENCE["arm"])
        inference, targets = placed(policy, TWO_ARMED, reference)
        again, _ = placed(policy, TWO_ARMED, reference)
    # The row that repeats the last command is gone, and nothing is blended with what was said before.
    assert len(inference.actions) == TWO_ARMED.task.policy.steps == 24
    said = 0.01 * (np.arange(24) + 1)[:, None] + 0.001 * np.arange(14)
    np.testing.assert_allclose(inference.actions, said, atol=1e-6)
    assert np.array_equal(inference.actions, again.actions)
    rows = rows_of_official(ARMS, said)
    np.testing.assert_allclose(targets.values[:, :3], rows["left"][:, :3], atol=1e-6)
    np.testing.assert_allclose(targets.values[:, 8:11], rows["right"][:, :3], atol=1e-6)
    assert targets.components[8] == "right/x" and targets.time_from_start_s[0] == pytest.approx(0.05)
    row = np.array([0.4, 0.1, 0.2, *QUAT, 0.04])
    np.testing.assert_allclose(engine.asked[-1].state, official_vector(ARMS, {"left": row, "right": row}), atol=1e-9)


def test_a_towel_server_with_a_checkpoint_of_ours_is_refused():
    engine = FakeEngine(size=14, state_size=20, facts=facts_of(TWO_ARMED))
    with towel(engine, ARMS) as port, pytest.raises(UserMistake, match="expected the same checkpoint with --protocol websocket"):
        choose_policy(f"tcp://127.0.0.1:{port}", TWO_ARMED, "cpu").warm_up()


@pytest.mark.parametrize(
    ("address", "contract", "match"),
    [
        ("tcp://h", FRANKA, "a front and two wrist images"),
        ("http://h", TWO_ARMED, "speaks of one arm"),
    ],
)
def test_a_protocol_that_does_not_fit_the_robot_is_refused(address, contract, match):
    with pytest.raises(UserMistake, match=match):
        choose_policy(address, contract, "cpu")


def test_a_lost_connection_is_made_anew():
    engine = ours()
    with websocket(engine) as port:
        policy = choose_policy(f"ws://127.0.0.1:{port}", FRANKA, "cpu")
        policy.warm_up()
        policy._server._connection.close()
        with pytest.raises(ServerSilent, match="gave no answer within"):
            policy.look(observation(FRANKA), seed=0)
        assert len(policy.look(observation(FRANKA), seed=0).actions) == 4


def test_a_failing_server_is_one_sentence_in_motion():
    engine = ours()
    with websocket(engine) as port:
        policy = choose_policy(f"ws://127.0.0.1:{port}", FRANKA, "cpu")
        policy.warm_up()
        engine.fails_with = RuntimeError("out of memory")
        with pytest.raises(ValueError, match="the server refused: the model failed on this request"):
            policy.look(observation(FRANKA), seed=0)


def test_observations_are_made_up_for_every_camera_and_arm():
    made_up = made_up_observation(TWO_ARMED)
    assert isinstance(made_up, Observation)
    assert set(made_up.images) == {camera.name for camera in ROBOT.cameras} and set(made_up.tcp) == {"left", "right"}
