"""Model files that extend others."""

from dataclasses import replace

import pytest
import yaml

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.config import load_model_config


def test_a_file_says_only_what_is_different():
    tiny, wide = load_model_config("tiny"), load_model_config("tiny_two_arms")
    assert (wide.flow.action_dim, wide.flow.state_dim, wide.lam.max_state_dim) == (14, 20, 20)
    assert replace(wide.flow, action_dim=7, state_dim=10) == tiny.flow
    assert replace(wide.lam, max_state_dim=tiny.lam.max_state_dim) == tiny.lam
    assert (wide.base_vlm, wide.vision_encoder, wide.tokenizer) == (tiny.base_vlm, tiny.vision_encoder, tiny.tokenizer)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"extends": "tiny_two_arms"}, "extends no other, got tiny_two_arms"),
        ({"extends": "huge"}, "unknown model 'huge'"),
        ({"extends": "tiny", "lamm": {}}, r"unknown key\(s\) \['lamm'\]"),
    ],
)
def test_mistakes_are_named(tmp_path, content, said):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserMistake, match=said):
        load_model_config(path)
