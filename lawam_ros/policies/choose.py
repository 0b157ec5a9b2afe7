"""Which policy a checkpoint text means."""

from pathlib import Path

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import assets_dir
from lawam_ros.data.bag_reader import is_bag
from lawam_ros.model.hub import Download, hub_folder, is_hub_name
from lawam_ros.policies.interface import Policy
from lawam_ros.policies.remote.address import is_remote, remote_address

RECORDED = "recorded:"
HOLD = "hold"
AUTO = "auto"
WEIGHTS_SUFFIXES = (".safetensors", ".pt")


def find_checkpoint(text: str, download: Download | None = None) -> Path:
    """Local path of a checkpoint: a folder, a weights file, the name of a shipped one, or ``owner/name[@revision]`` on the hub.

    A local path goes before a shipped name, that before the hub. download: what fetches from the hub, see ``model/hub.py``. Raises
    UserMistake when there is none, EnvironmentLacks when it can only be on the hub and that cannot be reached.
    """
    path = Path(text).expanduser()
    if path.is_file() and path.suffix in WEIGHTS_SUFFIXES:
        return path
    for candidate in (path, assets_dir() / text):
        if candidate.is_dir():
            return candidate
    # "runs/typo" has the form of a hub name too: whoever has a folder "runs" means that.
    if is_hub_name(text) and not Path(text).parent.is_dir():
        return hub_folder(text, download=download)
    shipped = ", ".join(sorted(p.name for p in assets_dir().iterdir() if p.is_dir())) if assets_dir().is_dir() else ""
    raise UserMistake(
        f"no checkpoint '{text}': expected a folder with config.yaml and final_model/, a weights file in it, owner/name on the Hugging "
        f"Face hub, or a shipped one ({shipped or 'none'})"
    )


def check_checkpoint(text: str) -> None:
    """Refuses what can be refused without loading anything or asking a server. Raises as :func:`find_checkpoint`."""
    if is_remote(text):
        remote_address(text)
    elif text != HOLD and not text.startswith(RECORDED):
        find_checkpoint(text)


def choose_policy(checkpoint: str, contract: Contract, device: str, precision: str = AUTO) -> Policy:
    """Policy of a checkpoint as in :func:`find_checkpoint`, of ``recorded:<dataset folder>#<episode>`` or ``recorded:<bag>``, of a
    server at ``ws://``, ``http://`` or ``tcp://host:port``, or of ``hold``.

    precision: a plan of ``model/fast/precision.py``, or ``auto``: bfloat16 on CUDA, float32 elsewhere. Raises UserMistake, and
    EnvironmentLacks for a hub that cannot be reached.
    """
    if checkpoint == HOLD:
        from lawam_ros.policies.holding import HoldingPolicy

        return HoldingPolicy(contract)
    if checkpoint.startswith(RECORDED):
        from lawam_ros.policies.recorded import RecordedPolicy

        folder, _, episode = checkpoint.removeprefix(RECORDED).partition("#")
        if not episode and is_bag(Path(folder)):
            from lawam_ros.policies.recorded_bag import RecordedChunks

            return RecordedChunks(Path(folder), contract)
        if not folder or not Path(folder).is_dir() or not (episode or "0").isdecimal():
            raise UserMistake(f"expected recorded:<dataset folder>#<episode number> or recorded:<bag>, got {checkpoint!r}")
        return RecordedPolicy(Path(folder), int(episode or "0"), contract)
    if is_remote(checkpoint):
        from lawam_ros.policies.remote.remote_policy import remote_policy

        return remote_policy(checkpoint, contract)
    folder_path = find_checkpoint(checkpoint)
    from lawam_ros.model.engine import Engine
    from lawam_ros.policies.lawam import LawamPolicy

    if precision == AUTO:
        precision = "bfloat16" if device.startswith("cuda") else "float32"
    engine = Engine.load(folder_path, device=device, dtype=precision, embodiment_id=contract.robot.embodiment_id)
    return LawamPolicy(engine, contract)
