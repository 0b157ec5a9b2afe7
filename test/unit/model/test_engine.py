"""The engine on the small golden checkpoint: numbers, arguments that cannot be, contract checks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.contract.task import PolicyContract
from lawam_ros.model.engine import Engine
from lawam_ros.model.facts import CheckpointFacts

SMALL = Path(__file__).parents[2] / "data" / "golden_small"
INSTRUCTION = "pick up the red block"


@pytest.fixture(scope="module")
def engine():
    torch.set_num_threads(1)
    return Engine.load(SMALL / "runs" / "nostate")


@pytest.fixture(scope="module")
def case():
    return load_file(SMALL / "cases" / "A.safetensors")


def infer(engine, case, **changes):
    image = case["inputs/primary/0/0"].numpy()
    arguments = {
        "primary": [image],
        "wrist": [],
        "instruction": INSTRUCTION,
        "state": None,
        "embodiment_id": 3,
        "action_hz": 20.0,
        "seed": 1,
    } | changes
    return engine.infer(**arguments)


def test_actions_and_subgoal_of_the_golden_case(engine, case):
    result = infer(engine, case, noise=case["flow/noise"])
    np.testing.assert_allclose(result.normalised_actions, case["out/normalized_actions"][0], atol=2e-4)
    np.testing.assert_allclose(result.actions, case["out/unnormalized_actions"][0], atol=2e-4)
    np.testing.assert_allclose(result.h_t, case["lam/h_t"][0], atol=1e-4)
    np.testing.assert_allclose(result.h_t1, case["lam/h_t1_pred"][0], atol=1e-4)
    assert result.grid_hw == (16, 16)
    stages = dict(result.stage_ms)
    assert set(stages) == {"prepare", "language", "vision", "world_model", "actions", "total"}
    assert sum(stages.values()) - stages["total"] <= stages["total"]


def test_seed_decides_the_noise(engine, case):
    first, again, other = (infer(engine, case, seed=seed).actions for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_the_checkpoint_says_how_wide_the_noise_is(engine, case):
    facts = CheckpointFacts("arm", "franka", 3, 20.0, 0.5, 0, ("front",), (), (), (), noise_scale=0.5)
    narrow = Engine(replace(engine.checkpoint, facts=facts))
    noise = torch.randn(engine.noise_shape, generator=torch.Generator().manual_seed(1))
    drawn = infer(narrow, case, seed=1).normalised_actions
    assert np.array_equal(drawn, infer(narrow, case, noise=0.5 * noise).normalised_actions)
    assert np.array_equal(infer(engine, case, seed=1).normalised_actions, infer(narrow, case, noise=noise).normalised_actions)
    assert not np.allclose(drawn, infer(engine, case, seed=1).normalised_actions)


def test_bfloat16_stays_near(engine, case):
    result = infer(Engine.load(SMALL / "runs" / "nostate", dtype="bfloat16"), case, noise=case["flow/noise"])
    difference = np.abs(result.normalised_actions - case["out/normalized_actions"][0].numpy()).max()
    assert 1e-6 < difference < 0.05
    assert result.actions.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action_hz": 0.0}, "1 to 10 actions"),
        ({"action_hz": 30.0}, "12 actions"),
        ({"action_hz": float("nan")}, "nan Hz"),
        ({"embodiment_id": 6}, "embodiment id of 0 to 5, got 6"),
        ({"embodiment_id": -1}, "got -1"),
        ({"primary": []}, "primary image"),
        ({"primary": [np.zeros((4, 4, 2), np.uint8)]}, r"shape \(H, W\)"),
        ({"instruction": "  "}, "instruction in words"),
        ({"instruction": "say <ACT_PH>"}, "must not contain <ACT_PH>"),
        ({"noise": torch.zeros(3, 12)}, r"noise of shape \(1, 10, 12\)"),
    ],
)
def test_impossible_arguments_are_refused(engine, case, changes, message):
    with pytest.raises(UserMistake, match=message):
        infer(engine, case, **changes)


def test_contract_of_another_horizon_is_refused(engine):
    policy = PolicyContract(20.0, 1.2, 1, 0.4, ("front",), (), ("gripper",), ("gripper_opening",))
    with pytest.raises(UserMistake, match=r"horizon of 0.4 s, the task asks for 1.2 s"):
        engine.check(policy, 3)


def test_statistics_of_an_unknown_tag_are_refused():
    with pytest.raises(UserMistake, match="has statistics for franka, not for embodiment 'agilex'"):
        Engine.load(SMALL / "runs" / "nostate", statistics_tag="agilex")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_cuda_is_named():
    with pytest.raises(EnvironmentLacks, match="no CUDA device"):
        Engine.load(SMALL / "runs" / "nostate", device="cuda")


def test_prompts_are_read_once(engine, case, monkeypatch):
    first = infer(engine, case, instruction="once", seed=4)

    def never(*_):
        raise AssertionError("tokenised again")

    monkeypatch.setattr(engine._encoder, "batch", never)
    assert np.array_equal(infer(engine, case, instruction="once", seed=4).actions, first.actions)
    with pytest.raises(AssertionError, match="tokenised again"):
        infer(engine, case, instruction="twice", seed=4)


def test_several_chunks_start_with_the_single_one(engine, case):
    image = case["inputs/primary/0/0"].numpy()
    many = engine.infer([image], [], INSTRUCTION, None, 3, 20.0, seed=5, chunks=3)
    one = infer(engine, case, seed=5)
    assert many.actions.shape == (3, *one.actions.shape)
    np.testing.assert_allclose(many.actions[0], one.actions, atol=1e-5)
    assert np.abs(many.normalised_actions[1] - many.normalised_actions[0]).max() > 0.1
    np.testing.assert_allclose(many.h_t1, one.h_t1, atol=1e-6)


def test_a_subgoal_may_be_given(engine, case):
    free = infer(engine, case)
    same = infer(engine, case, subgoal=free.h_t1)
    np.testing.assert_allclose(same.actions, free.actions, atol=1e-6)
    other = infer(engine, case, subgoal=free.h_t)
    assert np.abs(other.normalised_actions - free.normalised_actions).max() > 1e-3
    np.testing.assert_array_equal(other.h_t1, free.h_t1)
    with pytest.raises(UserMistake, match=r"expected subgoal features of shape \(256, 48\), got \(3, 3\)"):
        infer(engine, case, subgoal=np.zeros((3, 3), np.float32))


def test_untrained_guidance_is_warned_of(engine, case):
    with pytest.warns(RuntimeWarning, match="unconditional embedding this checkpoint never trained"):
        guided = infer(engine, case, guidance_scale=1.5)
    assert np.abs(guided.actions - infer(engine, case).actions).max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instruction": "pick " * 3000}, r"expected an instruction of at most 512 tokens, got \d+; shorten it"),
        ({"steps": 0}, "expected 1 to 1000 denoising steps, got 0"),
        ({"guidance_scale": float("nan")}, "expected a finite guidance scale, got nan"),
        ({"action_hz": 1.0}, "expected a rate that gives 1 to 10 actions within the model's horizon of 0.4 s, got 1 Hz"),
        ({"noise": torch.zeros(8, 32)}, r"expected noise of shape \(1, 10, \d+\)"),
        ({"primary": [np.zeros((4, 4, 2), np.uint8)]}, r"expected an image of shape .*, got \(4, 4, 2\)"),
    ],
)
def test_what_cannot_be_is_said(engine, case, changes, message):
    with pytest.raises(UserMistake, match=message):
        infer(engine, case, **changes)


def test_golden_case_is_the_one_described():
    assert json.loads((SMALL / "cases" / "A.json").read_text())["examples"][0]["lang"] == INSTRUCTION
