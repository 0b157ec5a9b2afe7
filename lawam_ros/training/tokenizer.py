"""A small byte-level BPE tokenizer in the Hugging Face layout, with the special tokens of Qwen3-VL.

The released models bring Qwen's tokenizer; the tiny profile trains its own on the sentences it will hear, so that its embedding table stays
small. Any other text still encodes, byte by byte.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PLACEHOLDER_TOKEN = "<ACT_PH>"
QWEN_SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def train_tokenizer(texts: Sequence[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Tokenizer with at most ``vocabulary_size`` entries: 256 bytes, merges learned from ``texts``, special tokens and the placeholder.

    The same texts always give the same table. Raises ValueError when bytes and special tokens alone do not fit.
    """
    special = [*QWEN_SPECIAL_TOKENS, PLACEHOLDER_TOKEN]
    smallest = 256 + len(special)
    if vocabulary_size < smallest:
        raise ValueError(f"expected a vocabulary of at least {smallest} entries (bytes and special tokens), got {vocabulary_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[*QWEN_SPECIAL_TOKENS[1:2], *QWEN_SPECIAL_TOKENS[3:], PLACEHOLDER_TOKEN],
        padding_side="right",
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the files AutoTokenizer reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
