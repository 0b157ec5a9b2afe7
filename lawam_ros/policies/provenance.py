"""Which weights a policy runs, told so that another machine can tell whether they are the same."""

from lawam_ros.contract.errors import LawamError
from lawam_ros.model.checkpoint_folder import open_folder
from lawam_ros.model.checkpoint_summary import hashes_of
from lawam_ros.policies.choose import find_checkpoint


def checkpoint_hashes(checkpoint: str) -> dict[str, str]:
    """SHA-256 of the weights and of every file that describes them, by path in the folder; empty for what is no checkpoint (a playback)."""
    try:
        return hashes_of(open_folder(find_checkpoint(checkpoint)))
    except LawamError:
        return {}
