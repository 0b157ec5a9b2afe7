"""Which policy a checkpoint text means."""

from pathlib import Path

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import assets_dir
from lawam_ros.policies.interface import Policy

RECORDED = "recorded:"


def find_checkpoint(text: str) -> Path:
    """Folder of a checkpoint: a path, or the name of a shipped one. Raises UserMistake when there is none."""
    for candidate in (Path(text).expanduser(), assets_dir() / text):
        if candidate.is_dir():
            return candidate
    shipped = ", ".join(sorted(p.name for p in assets_dir().iterdir() if p.is_dir())) if assets_dir().is_dir() else ""
    raise UserMistake(
        f"no checkpoint '{text}': expected a folder with config.yaml and final_model/, or a shipped one ({shipped or 'none'})"
    )


def choose_policy(checkpoint: str, contract: Contract, device: str) -> Policy:
    """Policy of a checkpoint folder, or of ``recorded:<dataset folder>#<episode>`` for playback. Raises UserMistake."""
    if checkpoint.startswith(RECORDED):
        from lawam_ros.policies.recorded import RecordedPolicy

        folder, _, episode = checkpoint.removeprefix(RECORDED).partition("#")
        if not folder or not Path(folder).is_dir() or not (episode or "0").isdecimal():
            raise UserMistake(f"expected recorded:<dataset folder>#<episode number>, got {checkpoint!r}")
        return RecordedPolicy(Path(folder), int(episode or "0"), contract)
    folder_path = find_checkpoint(checkpoint)
    from lawam_ros.model.engine import Engine
    from lawam_ros.policies.lawam import LawamPolicy

    return LawamPolicy(Engine.load(folder_path, device=device), contract)
