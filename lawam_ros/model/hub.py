"""Files from the Hugging Face hub: whole checkpoints without what is not needed, and the small files of base models."""

import re
from collections.abc import Callable
from pathlib import Path

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake

CHECKPOINT_FILES = (
    "*.yaml", "config.json", "dataset_statistics.json", "final_model/*.safetensors", "final_model/*.pt", "base_vlm/*", "vision_encoder/*",
    "model.safetensors", "policy_*.json", "policy_*.safetensors",
)  # fmt: skip
"""What any layout reads; checkpoints of intermediate steps, logs and videos stay where they are."""
BASE_MODEL_FILES = ("config.json", "tokenizer*.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json")
"""Architecture and tokenizer of a base model, never its weights."""
_NAME = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"

Download = Callable[[str, str | None, tuple[str, ...]], str]
"""(owner/name, revision or None, file patterns) to a local folder."""


def is_hub_name(text: str) -> bool:
    """Whether a text has the form ``owner/name`` or ``owner/name@revision``."""
    return re.fullmatch(rf"{_NAME}(@[\w./-]+)?", text) is not None


def download_files(repository: str, revision: str | None, patterns: tuple[str, ...]) -> str:
    """Folder in the hub's cache with the files; without a network, what the cache already holds."""
    from huggingface_hub import snapshot_download

    return str(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))


def hub_folder(name: str, patterns: tuple[str, ...] = CHECKPOINT_FILES, download: Download | None = None) -> Path:
    """Local folder with the files of ``owner/name[@revision]``.

    UserMistake when the hub has no such repository or revision, or wants its terms accepted first; EnvironmentLacks when it cannot be
    reached and the cache holds nothing. download: what fetches them, by default the hub's own client.
    """
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    repository, _, revision = name.partition("@")
    try:
        return Path((download or download_files)(repository, revision or None, patterns))
    except GatedRepoError as error:
        raise UserMistake(
            f"the hub gives {repository} only to those who accepted its terms; accept them on its page, then run 'hf auth login'"
        ) from error
    except RevisionNotFoundError as error:
        raise UserMistake(f"the hub has no revision '{revision}' of {repository}; expected a branch, tag or commit of it") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserMistake(f"the hub has no repository '{repository}' that may be read; check owner and name, or give a folder") from error
    except OSError as error:
        raise EnvironmentLacks(
            f"{name}: there is no such folder, the hub's cache does not hold it, and the hub cannot be reached ({type(error).__name__}); "
            "connect to the network, or give a folder"
        ) from error
