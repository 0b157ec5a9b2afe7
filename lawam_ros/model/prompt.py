"""The chat prompt: text with image and query placeholders, its token ids, and batches of them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import assets_dir
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.transformers_parts import AutoTokenizer

IMAGE_TOKEN = "<|image_pad|>"


@dataclass(frozen=True)
class PromptBatch:
    """Token ids (B, L), padded on one side, and where things are: boolean masks (B, L), all on one device.

    image_mask marks the tokens to be replaced by image features, act_mask and flow_mask those replaced by the learned queries.
    padded: whether any row is shorter than L.
    """

    input_ids: Tensor
    attention_mask: Tensor
    image_mask: Tensor
    act_mask: Tensor
    flow_mask: Tensor
    padded: bool

    def to(self, device: torch.device | str) -> "PromptBatch":
        moved = {name: getattr(self, name).to(device) for name in ("input_ids", "attention_mask", "image_mask", "act_mask", "flow_mask")}
        return replace(self, **moved)


def prompt_texts(instruction: str, config: ModelConfig) -> tuple[str, str]:
    """Text after the primary images and text after the wrist images; the instruction is used verbatim."""

    def with_placeholders(text: str, count: int) -> str:
        return text + "\n" + " ".join([config.placeholder_token] * count) if count else text

    before = config.before_wrist.replace("{instruction}", instruction)
    return with_placeholders(before, config.action_queries), with_placeholders(config.after_wrist, config.flow_queries)


def chat_text(instruction: str, primary: int, wrist: int, config: ModelConfig, tokens_per_image: int = 1) -> str:
    """The whole user turn with the generation prompt; every image stands as ``tokens_per_image`` image tokens."""
    image = "<|vision_start|>" + IMAGE_TOKEN * tokens_per_image + "<|vision_end|>"
    before, after = prompt_texts(instruction, config)
    content = image * primary + before + image * wrist + after
    return f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


def placeholder_masks(input_ids: Tensor, placeholder_id: int, action_queries: int, flow_queries: int) -> tuple[Tensor, Tensor]:
    """Masks (B, L) of the action and the flow placeholders: the first ``action_queries`` of each row, then the next ``flow_queries``."""
    found = input_ids == placeholder_id
    order = found.cumsum(dim=1)
    act = found & (order <= action_queries)
    flow = found & (order > action_queries) & (order <= action_queries + flow_queries)
    return act, flow


def open_tokenizer(name: str) -> Any:
    """Tokenizer from a folder (also relative to the shipped assets) or, when no folder has that name, from the hub."""
    for folder in (Path(name), assets_dir() / name):
        if (folder / "tokenizer_config.json").is_file():
            return AutoTokenizer.from_pretrained(str(folder))
    if Path(name).is_absolute() or Path(name).is_dir():
        raise UserMistake(
            f"expected tokenizer files (tokenizer.json, tokenizer_config.json) in {name}, found none; copy them from the base model"
        )
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UserMistake(
            f"expected a tokenizer folder or a reachable hub name, got {name!r}; give the folder of the base model"
        ) from error


class PromptEncoder:
    """Instruction and number of views to token ids; results are kept, since only the images change between calls."""

    def __init__(self, config: ModelConfig, tokenizer: Any | None = None) -> None:
        self._config = config
        self.tokenizer = tokenizer if tokenizer is not None else open_tokenizer(config.tokenizer)
        self.tokenizer.add_special_tokens({"additional_special_tokens": [config.placeholder_token]}, replace_extra_special_tokens=False)
        self.placeholder_id = int(self.tokenizer.convert_tokens_to_ids(config.placeholder_token))
        self._cache: dict[tuple[str, int, int], list[int]] = {}
        self._check_against_model()

    @property
    def tokens_per_image(self) -> int:
        vision = self._config.base_vlm["vision_config"]
        side = self._config.image_size // (int(vision["patch_size"]) * int(vision["spatial_merge_size"]))
        return side * side

    def encode(self, instruction: str, primary: int, wrist: int) -> list[int]:
        """Token ids of one prompt. UserMistake when the instruction contains a token that only the template may use."""
        key = (instruction, primary, wrist)
        if key not in self._cache:
            for token in (self._config.placeholder_token, IMAGE_TOKEN):
                if token in instruction:
                    raise UserMistake(f"the instruction must not contain {token}, got {instruction!r}")
            if primary < 1:
                raise UserMistake("expected at least one primary image, got none")
            text = chat_text(instruction, primary, wrist, self._config, self.tokens_per_image)
            if len(self._cache) > 4096:
                self._cache.clear()
            self._cache[key] = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._cache[key]

    def instruction_tokens(self, instruction: str) -> int:
        """Number of tokens of the instruction alone."""
        return len(self.tokenizer(instruction, add_special_tokens=False)["input_ids"])

    def batch(self, prompts: list[tuple[str, int, int]]) -> PromptBatch:
        """Batch of (instruction, number of primary images, number of wrist images), padded on the side the tokenizer says."""
        rows = [self.encode(*prompt) for prompt in prompts]
        length = max(map(len, rows))
        pads = [[self.tokenizer.pad_token_id or 0] * (length - len(row)) for row in rows]
        left = self.tokenizer.padding_side == "left"
        ids = torch.tensor([pad + row if left else row + pad for row, pad in zip(rows, pads, strict=True)], dtype=torch.long)
        padding = torch.tensor([len(pad) for pad in pads])[:, None]
        position = torch.arange(length)[None]
        attention = position >= padding if left else position < length - padding
        act, flow = placeholder_masks(ids, self.placeholder_id, self._config.action_queries, self._config.flow_queries)
        image = ids == int(self._config.base_vlm["image_token_id"])
        return PromptBatch(ids, attention, image, act, flow, padded=len(set(map(len, rows))) > 1)

    def _check_against_model(self) -> None:
        base = self._config.base_vlm
        image_id = self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        if image_id != int(base["image_token_id"]):
            raise UserMistake(
                f"the tokenizer says {IMAGE_TOKEN} is {image_id}, the base model {base['image_token_id']}; use the base model's tokenizer"
            )
        vocabulary = int(base["text_config"]["vocab_size"])
        if self.placeholder_id >= vocabulary:
            raise UserMistake(
                f"the placeholder token gets id {self.placeholder_id}, the model has {vocabulary} rows; use the base model's tokenizer"
            )
