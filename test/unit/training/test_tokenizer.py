"""The small tokenizer: special tokens stay whole, any text survives the round trip, the same texts give the same table."""

import pytest
from transformers import AutoTokenizer

from lawam_ros.training.tokenizer import PLACEHOLDER_TOKEN, QWEN_SPECIAL_TOKENS, save_tokenizer, train_tokenizer

TEXTS = ["put the red cube on the blue pad", "Your task is to move the red cube.", "infer the robot arm's motion"] * 4


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer(TEXTS, 400), folder)
    return AutoTokenizer.from_pretrained(str(folder))


def test_special_tokens_are_single_ids_in_a_fixed_order(tokenizer):
    ids = [tokenizer.convert_tokens_to_ids(token) for token in (*QWEN_SPECIAL_TOKENS, PLACEHOLDER_TOKEN)]
    assert ids == list(range(8))
    text = "<|im_start|>user\n<|vision_start|><|image_pad|><|image_pad|><|vision_end|>x\n<ACT_PH> <ACT_PH><|im_end|>\n"
    encoded = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [encoded.count(i) for i in ids] == [0, 1, 1, 1, 1, 2, 0, 2]


@pytest.mark.parametrize(
    "text", ["put the red cube on the blue pad", "größe 日本 \U0001f916\n\n  tabs\tand spaces ", "Ünknown words; 12.5 mm!"]
)
def test_any_text_survives(tokenizer, text):
    encoded = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(encoded) == text
    assert max(encoded) < len(tokenizer) <= 400


def test_known_words_are_single_tokens(tokenizer):
    assert len(tokenizer("put the red cube on the blue pad", add_special_tokens=False)["input_ids"]) == 8


def test_training_is_deterministic():
    assert train_tokenizer(TEXTS, 400).get_vocab() == train_tokenizer(TEXTS, 400).get_vocab()


def test_a_vocabulary_below_the_bytes_is_refused():
    with pytest.raises(ValueError, match="at least 264 entries"):
        train_tokenizer(TEXTS, 200)
