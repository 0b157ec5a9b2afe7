"""LaWAM behind the policy interface: what is refused before an arm moves."""

import re

import numpy as np
import pytest
from golden import golden_folders

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import assets_dir
from lawam_ros.contract.records import Observation, Pose
from lawam_ros.policies.choose import choose_policy
from lawam_ros.policies.committed import Committed

OFFICIAL = golden_folders("runs/nostate/config.yaml")[0] / "runs" / "nostate"
FITTING = ["task.policy.horizon_s=0.4", "robot.embodiment.id=3"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["robot.embodiment.id=3"], "horizon"),
        (["task.policy.horizon_s=0.4"], "embodiment id"),
        (FITTING, "does not say what its actions mean"),
    ],
)
def test_an_official_checkpoint_is_refused_in_one_sentence(overrides, sentence):
    with pytest.raises(UserMistake, match=sentence) as refusal:
        choose_policy(str(OFFICIAL), load_contract("franka_pick_place", overrides=overrides), "cpu")
    assert not re.search(r"\n", str(refusal.value))


@pytest.mark.parametrize("task", ["franka_pick_place", "franka_drawer", "x1_towel_fold"])
def test_the_weights_of_every_task_are_shipped_and_fit_it(task):
    contract = load_contract(task)
    weights = assets_dir() / contract.task.checkpoint / "final_model" / "model.safetensors"
    assert weights.stat().st_size <= 15e6
    assert contract.task.checkpoint in choose_policy(contract.task.checkpoint, contract, "cpu").description


def test_a_committed_part_pulls_the_next_chunk_towards_it():
    contract = load_contract("franka_pick_place")
    policy = choose_policy("tiny_franka", contract, "cpu")
    camera = contract.robot.camera("front")
    image = np.full((camera.height, camera.width, 3), 120, np.uint8)
    observation = Observation(
        stamp_ns=0,
        images={"front": image, "wrist": image},
        image_stamps_ns={"front": 0, "wrist": 0},
        tcp={"arm": Pose(np.array([0.45, 0.0, 0.3]), np.array([1.0, 0.0, 0.0, 0.0]))},
        gripper_m={"arm": 0.08},
        joints_rad=np.zeros(7),
        instruction=contract.task.instruction,
    )
    reference = {"arm": np.array([0.45, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0, 0.08])}
    wanted = np.repeat(reference["arm"][None], 24, axis=0)
    wanted[:, 1] += 0.004 * (np.arange(24) + 1)

    def distance(committed):
        targets = policy.place(policy.look(observation, 3, committed), reference).values
        return np.abs(targets[:6, :3] - wanted[:6, :3]).mean()

    free = distance(None)
    assert distance(Committed({"arm": wanted}, 6, reference)) < 0.5 * free
