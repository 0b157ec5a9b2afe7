"""The engine on the small golden checkpoint: numbers, arguments that cannot be, contract checks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.contract.task import PolicyContract
from lawam_ros.model.engine import Engine

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


def test_tokens_are_kept_per_instruction(engine, case):
    infer(engine, case, instruction="once")
    before = len(engine.prompts._cache)
    infer(engine, case, instruction="once")
    assert len(engine.prompts._cache) == before


def test_golden_case_is_the_one_described():
    assert json.loads((SMALL / "cases" / "A.json").read_text())["examples"][0]["lang"] == INSTRUCTION
