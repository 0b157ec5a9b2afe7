"""LaWAM behind the policy interface: what is refused before an arm moves."""

import re

import pytest
from golden import golden_folders

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.policies.choose import choose_policy

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
