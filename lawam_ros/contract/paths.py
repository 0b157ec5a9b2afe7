"""Where the package keeps its configuration, robot descriptions and shipped weights, whichever way it was installed."""

from pathlib import Path

from lawam_ros.contract.errors import EnvironmentLacks

_PACKAGE = Path(__file__).resolve().parents[1]


def share_dir() -> Path:
    """Folder that holds config/, urdf/ and launch/.

    A source checkout is used as it is; colcon and pip installations both put the folders in ``<prefix>/share/lawam_ros``,
    which some ancestor of this file contains.
    """
    checkout = _PACKAGE.parent
    if (checkout / "package.xml").is_file() and (checkout / "config").is_dir():
        return checkout
    for prefix in _PACKAGE.parents:
        share = prefix / "share" / "lawam_ros"
        if (share / "config").is_dir():
            return share
    raise EnvironmentLacks(
        f"expected the lawam_ros configuration in <prefix>/share/lawam_ros above {_PACKAGE}, found none; reinstall the package"
    )


def config_dir() -> Path:
    return share_dir() / "config"


def urdf_dir() -> Path:
    return share_dir() / "urdf"


def assets_dir() -> Path:
    """Shipped checkpoints, installed as package data."""
    return _PACKAGE / "assets"
