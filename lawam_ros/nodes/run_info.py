"""``lawam/run_info``: what ran, as JSON, so that a recording tells where it came from and how to run it again."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lawam_ros import __version__
from lawam_ros.contract.load import Contract

_LIBRARIES = ("numpy", "torch", "transformers", "opencv-python-headless", "mujoco")


def run_info(contract: Contract, overrides: str, settings: Mapping[str, Any], checkpoint_sha256: Mapping[str, str]) -> str:
    """settings: checkpoint, seed, clock and whatever else decides what the policy does."""
    content = {
        "task": contract.task.name,
        "robot": contract.robot.name,
        "overrides": overrides,
        "contract_crc": contract.crc,
        **settings,
        "checkpoint_sha256": dict(checkpoint_sha256),
        "versions": {"lawam_ros": __version__, "python": platform.python_version(), **_versions()},
    }
    return json.dumps(content, sort_keys=True)


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
